# moe.bash - what the end-to-end tests share.  Every process is started by
# `spawn`, which waits for readiness, and reaped by `reap` in teardown.

BIN=${MOE_BUILD:-build/release}/bin
TOOL=${MOE_BUILD:-build/release}/tests/tool
GOLDEN=tests/golden/models

# A short path: Unix sockets live in it.
run_dir() {
	RUN=$(mktemp -d /tmp/moe.XXXXXX)
}

# Skip, unless MOE_REQUIRE asks for this kind: then fail.
lack() { # KIND REASON
	case ",${MOE_REQUIRE:-}," in
	*,"$1",*) echo "required but missing: $2" >&2; return 1 ;;
	esac
	skip "$2"
}

# spawn ID COMMAND...: start it in the background with --ready-fd, wait until it
# is ready.  Its output is in $RUN/ID.log, its pid in $RUN/ID.pid.
spawn() {
	local id=$1 ready
	shift
	rm -f "$RUN/$id.fifo"
	mkfifo "$RUN/$id.fifo"
	# Open before the start: what is in a pipe that nobody holds is lost.
	exec 8<>"$RUN/$id.fifo"
	"$@" --ready-fd 9 >>"$RUN/$id.log" 2>&1 9>"$RUN/$id.fifo" 3>&- 4>&- 8>&- &
	echo $! >"$RUN/$id.pid"
	if ! read -r -t "${READY_S:-60}" ready <&8; then
		echo "$id did not get ready:" >&2
		tail -n 20 "$RUN/$id.log" >&2
		exec 8>&-
		return 1
	fi
	exec 8>&-
}

pid_of() { cat "$RUN/$1.pid"; }

# Wait until a command succeeds; seconds first.
retry() {
	local end=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		if [ $SECONDS -ge $end ]; then
			echo "still failing: $*" >&2
			return 1
		fi
		sleep 0.02
	done
}

# Assert an exact exit status; death by signal never matches.
fails() { # STATUS COMMAND...
	local want=$1 got=0
	shift
	"$@" >"$RUN/out" 2>"$RUN/err" || got=$?
	if [ "$got" -ne "$want" ]; then
		echo "exit $got, want $want: $*" >&2
		cat "$RUN/err" >&2
		return 1
	fi
}

# start_experts MODEL TRANSPORT N COPIES [moe-expertd options]: writes
# $RUN/cluster.conf and starts e1..eN.
start_experts() {
	local model=$1 transport=$2 n=$3 copies=$4 i port
	shift 4
	{
		echo "moe-cluster 1"
		echo "model $model"
		echo "replicas $copies"
		if [ "$transport" = shm ]; then
			for i in $(seq "$n"); do echo "expert e$i shm:$RUN/e$i.sock"; done
		else
			i=0
			for port in $("$TOOL/freeport" "$n"); do
				i=$((i + 1))
				echo "expert e$i tcp:127.0.0.1:$port"
			done
		fi
	} >"$RUN/cluster.conf"
	for i in $(seq "$n"); do
		spawn "e$i" "$BIN/moe-expertd" -m "$model" -f "$RUN/cluster.conf" -i "e$i" "$@" || return 1
	done
}

# start_front ID [moe-attnd options]: sets URL.
start_front() {
	local id=$1
	shift
	spawn "$id" "$BIN/moe-attnd" -p 127.0.0.1:0 -i "$id" "$@" || return 1
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/$id.log" | tail -n 1)
	retry 20 curl -sf "$URL/health"
}

stop() { # ID...: TERM, and wait for the end; the exit status of the last
	local id status=0
	for id; do
		kill -TERM "$(pid_of "$id")" 2>/dev/null
		wait "$(pid_of "$id")" || status=$?
		rm -f "$RUN/$id.pid"
	done
	return $status
}

# Kill all that is left and remove the run directory.
reap() {
	local f
	for f in "$RUN"/*.pid; do
		[ -e "$f" ] || continue
		kill -CONT "$(cat "$f")" 2>/dev/null
		kill -KILL "$(cat "$f")" 2>/dev/null
		wait "$(cat "$f")" 2>/dev/null
	done
	rm -rf "$RUN"
	return 0
}
