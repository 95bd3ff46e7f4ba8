#!/usr/bin/env bats
# moe-up, moe-ask, moe-down: clusters as users start them, and what is left of
# them.

load ../lib/moe

setup() {
	run_dir
	export MOE_BIN=$PWD/$BIN
	unset MOE_DIR
	C=$RUN/c
}

teardown() {
	local d
	for d in "$RUN"/*/procs.tsv; do
		[ ! -e "$d" ] || bin/moe-down -D "${d%/*}" 3>&- 4>&- || true
	done
	reap
}

up() { # [options]: a cluster in $C, or in -D DIR; its URL is in URL
	bin/moe-up -d -D "$C" -p 127.0.0.1:0 "$@" >"$RUN/up" 2>"$RUN/up.err" 3>&- 4>&- ||
		{ local rc=$?; cat "$RUN/up.err" >&2; return $rc; }
	URL=$(cat "$RUN/up")
}

complete() { # [URL]
	curl -sf "${1:-$URL}/v1/completions" -d '{"prompt":"Once upon a time","max_tokens":16,"seed":3}' | jq -r '.choices[0].text'
}

member() { awk -F '\t' -v id="$1" '$2 == id { print $3 }' "$C/procs.tsv"; }

# Processes that were started for this run directory.
running() {
	local p line
	for p in /proc/[0-9]*; do
		line=$(tr '\0' ' ' 2>/dev/null <"$p/cmdline") || continue
		case $line in
		*/moe-*"$RUN"*|*"$RUN"*/cmd/*)
			case $(cat "$p/stat" 2>/dev/null) in ''|*') Z '*) ;; *) echo "${p#/proc/} $line" ;; esac ;;
		esac
	done
}

nothing_left() {
	running >"$RUN/left"
	find "$RUN" -name '*.sock' >>"$RUN/left"
	grep -F "$RUN" /proc/net/unix >>"$RUN/left" || true
	# Not the folders of other tests that run beside this one.
	find /dev/shm -name '*moe*' ! -name 'moe-test*' -user "$(id -un)" >>"$RUN/left" 2>/dev/null
	[ ! -s "$RUN/left" ] || { cat "$RUN/left" >&2; return 1; }
}

@test "moe-up -d writes its files, moe-ask asks, moe-down leaves nothing" {
	up
	[ "$(wc -l <"$RUN/up")" -eq 1 ]
	[ "$(head -n 1 "$C/procs.tsv")" = "$(printf '#moe:procs/1\trole\tid\tpid\taddress')" ]
	[ "$(cut -f 1 "$C/procs.tsv" | sort | uniq -c | awk '{ print $2 $1 }' | grep -v '#' | xargs)" = "attnd1 expertd3 route1" ]
	awk -F '\t' 'NR > 1 { print $3 }' "$C/procs.tsv" | xargs kill -0
	( . "$C/env"; [ "$MOE_URL" = "$URL" ]; [ -f "$MOE_CLUSTER" ]; [ "$MOE_DIR" = "$C" ] )
	[ "$(grep -c '^expert ' "$C/cluster.conf")" -eq 3 ]
	grep -q '^replicas 2$' "$C/cluster.conf"
	[ -s "$C/log/a1.log" ]
	"$BIN/moe-route" status -f "$C/cluster.conf" >"$RUN/status"
	[ "$(grep -cE '(^|	)e[123](	|$)' "$RUN/status")" -ge 3 ]

	bin/moe-ask -D "$C" -n 5 "Once upon a time" >"$RUN/a"
	[ -s "$RUN/a" ]
	MOE_DIR=$C bin/moe-ask -s "Who was there?" >"$RUN/a"
	[ -s "$RUN/a" ]
	printf 'He said "no"\\\nand\tleft. Grüße' | bin/moe-ask -u "$URL" -n 3 - >"$RUN/a"
	[ -s "$RUN/a" ]
	fails 64 bin/moe-ask -D "$C"
	fails 75 bin/moe-ask -D "$RUN/none" hello
	fails 75 bin/moe-ask -u http://127.0.0.1:9 hello

	bin/moe-down -D "$C" 3>&- 4>&-
	nothing_left
	[ ! -e "$C/procs.tsv" ]
	fails 75 bin/moe-ask -D "$C" hello
}

@test "a member started again by hand takes its old place" {
	local old want
	up
	want=$(complete)
	[ -n "$want" ]
	old=$(member e2)
	cut -f 1,2,4 "$C/procs.tsv" >"$RUN/before"
	kill -KILL "$old"
	[ "$(complete)" = "$want" ]
	setsid "$C/cmd/e2" >/dev/null 2>&1 </dev/null 3>&- 4>&- &
	retry 20 servers 3
	[ "$(member e2)" != "$old" ]
	kill -0 "$(member e2)"
	cut -f 1,2,4 "$C/procs.tsv" | diff "$RUN/before" -
	[ "$(complete)" = "$want" ]
	bin/moe-down -D "$C" 3>&- 4>&-
	nothing_left
}
servers() { [ "$(curl -sf "$URL/metrics" | sed -n 's/^moe_servers_up{.*} //p')" = "$1" ]; }

@test "two clusters in two directories, shm and tcp, one port asked for twice" {
	local one want port
	up -e 2 -r 1
	one=$URL
	want=$(complete)
	port=${one##*:}
	bin/moe-up -d -D "$RUN/d" -t tcp -e 2 -p "127.0.0.1:$port" >"$RUN/up" 2>"$RUN/up.err" 3>&- 4>&-
	grep -q "port $port is taken" "$RUN/up.err"
	URL=$(cat "$RUN/up")
	[ "$URL" != "$one" ]
	[ "$(grep -c 'tcp:127.0.0.1:' "$RUN/d/cluster.conf")" -eq 3 ]
	[ "$(complete)" = "$want" ]
	fails 75 bin/moe-up -d -D "$C" 3>&- 4>&-
	grep -q 'a cluster runs in' "$RUN/err"
	bin/moe-down -D "$C" 3>&- 4>&-
	[ "$(complete)" = "$want" ]
	bin/moe-down -D "$RUN/d" 3>&- 4>&-
	nothing_left
}

@test "moe-ask that cannot print says so" {
	up -e 1
	fails 75 full bin/moe-ask -D "$C" Once
	[ -s "$RUN/err" ]
}
full() { "$@" >/dev/full; }

@test "--ask prints the answer alone, and stops the cluster" {
	bin/moe-up -D "$C" -p 127.0.0.1:0 -e 2 --ask "Once upon a time" >"$RUN/a" 2>"$RUN/err" 3>&- 4>&-
	[ -s "$RUN/a" ]
	! grep -q http "$RUN/a" || return 1
	nothing_left
}

@test "in the foreground: URL, a story, and a clean end on TERM" {
	bin/moe-up -D "$C" -p 127.0.0.1:0 -e 2 >"$RUN/a" 2>"$RUN/err" 3>&- 4>&- &
	local pid=$!
	retry 60 grep -q 'Ctrl-C stops it' "$RUN/err"
	grep -q '^http://127.0.0.1:' "$RUN/a"
	grep -q '^Once upon a time' "$RUN/a"
	kill -TERM $pid
	wait $pid
	nothing_left
}

@test "a cluster that cannot start: exit code, the log's lines, nothing left" {
	fails 65 bin/moe-up -d -D "$C" -m "$RUN" 3>&- 4>&-
	grep -q 'config.json' "$RUN/err"
	cp -r models/tales "$RUN/cut"
	truncate -s -1000 "$RUN/cut/model.safetensors"
	fails 75 bin/moe-up -d -D "$C" -p 127.0.0.1:0 -m "$RUN/cut" 3>&- 4>&-
	grep -q 'model.safetensors' "$RUN/err"
	grep -q '==> .*log' "$RUN/err"
	[ ! -s "$RUN/out" ]
	nothing_left
	fails 75 bin/moe-up -d -D "$C" -p 127.0.0.1:0 -e 1 -r 1 --expertd-args '--memory 1k' 3>&- 4>&-
	nothing_left
	fails 64 bin/moe-up -d -D "$C" -t pigeon 3>&- 4>&-
}

@test "kill -9 of everything, then moe-down: nothing is left, and it starts again" {
	up -e 2
	awk -F '\t' 'NR > 1 { print $3 }' "$C/procs.tsv" | xargs kill -KILL
	bin/moe-down -D "$C" 3>&- 4>&-
	nothing_left
	up -e 2
	[ -n "$(complete)" ]
	awk -F '\t' 'NR > 1 { print $3 }' "$C/procs.tsv" | xargs kill -KILL
	# moe-up itself clears away what a dead cluster left.
	up -e 2
	[ -n "$(complete)" ]
	# Members that stand still end, too.
	kill -STOP "$(member e1)"
	bin/moe-down -D "$C" 3>&- 4>&-
	nothing_left
}

@test "kill -9 of a cluster whose sockets are elsewhere, then moe-up: the old ones go" {
	export TMPDIR=$RUN/t
	mkdir "$TMPDIR"
	C=$RUN/$(printf '%0120d' 0)
	up -e 1
	[ "$(ls "$TMPDIR" | wc -l)" -eq 1 ]
	awk -F '\t' 'NR > 1 { print $3 }' "$C/procs.tsv" | xargs kill -KILL
	up -e 1
	bin/moe-down -D "$C" 3>&- 4>&-
	[ "$(ls "$TMPDIR" | wc -l)" -eq 0 ]
}

@test "a directory with somebody else's files is left as it is" {
	mkdir -p "$C/log"
	echo mine >"$C/log/precious"
	fails 64 bin/moe-up -d -D "$C" -p 127.0.0.1:0 3>&- 4>&-
	grep -q "$C/log" "$RUN/err"
	[ "$(cat "$C/log/precious")" = mine ]
	[ "$(ls -A "$C")" = log ]
	fails 64 bin/moe-up -d -D "$RUN/d" -p 127.0.0.1:65536 3>&- 4>&-
	[ ! -e "$RUN/d" ]
	fails 64 bin/moe-up -d -D "$RUN/a blank/c" -p 127.0.0.1:0 3>&- 4>&-
	[ ! -e "$RUN/a blank" ]
}

@test "MOE_NO_INSTALL=1: what is missing is named, exit 69" {
	mkdir "$RUN/path"
	printf '#!/bin/sh\nexit 1\n' >"$RUN/path/dpkg-query"
	chmod +x "$RUN/path/dpkg-query"
	unset MOE_BIN
	PATH=$RUN/path:$PATH MOE_NO_INSTALL=1 fails 69 bin/moe-up -d -D "$C"
	grep -q 'missing packages:.* libevent-dev ' "$RUN/err"
	PATH=$RUN/path:$PATH MOE_NO_INSTALL=1 fails 69 tests/run unit
	grep -q 'missing packages:.* bats ' "$RUN/err"
	[ ! -e "$C" ]
}

# Processor time of each member so far: id and microseconds.
used() {
	local role id pid addr
	while IFS=$'\t' read -r role id pid addr; do
		[ "$pid" -gt 0 ] 2>/dev/null || continue
		cat /proc/"$pid"/task/*/schedstat | awk -v id="$id" '{ s += $1 } END { printf "%s %d\n", id, s / 1000 }'
	done <"$C/procs.tsv"
}

# Percent of a processor that each member uses over 10 s, and is it 0.0, printed
# with one digit?  Sanitizers multiply what there is.
idle() {
	used >"$RUN/before"
	sleep 10
	used | join "$RUN/before" - | awk '{ printf "%s %.3f\n", $1, ($3 - $2) / 1e5 }' >"$RUN/used"
	echo "# percent of a processor, idle: $(xargs <"$RUN/used")" >&3
	awk -v most="$([ "${BUILD:-release}" = release ] && echo 0.05 || echo 1)" \
	    '$2 >= most { bad = 1 } END { exit bad || NR != 5 }' "$RUN/used"
}

@test "every process of an idle cluster uses 0.0 % of a processor over 10 s" {
	up
	complete >/dev/null
	sleep 1
	# Where others fill the caches a wake-up costs several times as much.
	idle || idle || idle
	bin/moe-down -D "$C" 3>&- 4>&-
}

rate() { # tokens a second of one greedy stream of 300 tokens, best of 3
	local i
	for i in 1 2 3; do
		curl -sf -o "$RUN/rate" -w '%{time_total}\n' "$URL/v1/completions" \
		    -d '{"prompt":"Once upon a time","max_tokens":300,"temperature":0,"ignore_eos":true}'
		jq -e '.usage.completion_tokens == 300' "$RUN/rate" >/dev/null
	done | awk 'min == "" || $1 < min { min = $1 } END { printf "%.0f\n", 300 / min }'
}

@test "one stream over three servers, against --local" {
	local three local_
	up
	three=$(rate)
	jq -r '.choices[0].text' "$RUN/rate" >"$RUN/three"
	bin/moe-down -D "$C" 3>&- 4>&-
	start_front f -m models/tales --local
	local_=$(rate)
	jq -r '.choices[0].text' "$RUN/rate" | diff "$RUN/three" -
	stop f
	echo "# one stream: $three tokens/s on 3 servers over shm, $local_ tokens/s with --local" >&3
	[ "$three" -gt 0 ] && [ "$local_" -gt 0 ]
}
