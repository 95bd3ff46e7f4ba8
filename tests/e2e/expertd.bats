#!/usr/bin/env bats
# moe-expertd as a program: what it refuses, when, and how it ends.

load ../lib/moe

MODEL=models/tales
D="$BIN/moe-expertd"

setup() { run_dir; }
teardown() { reap; }

serve() { # ID [options]
	local id=$1
	shift
	spawn "$id" "$D" -m $MODEL -l "shm:$RUN/$id.sock" -i "$id" "$@"
}

says() { grep -q -- "$1" "$RUN/err"; }

broken_model() { # a copy with one byte of a header's length changed
	cp -r $MODEL "$RUN/broken"
	printf '\377' | dd of="$RUN/broken/model.safetensors" bs=1 seek=4 conv=notrunc 2>/dev/null
}

@test "the command line: exit 64 and what is missing" {
	fails 64 "$D"
	says '-i NAME is missing'
	fails 64 "$D" -i e1
	says '-m DIR is missing'
	fails 64 "$D" -i e1 -m $MODEL
	says '-l ADDR is missing'
	fails 64 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" more
	fails 64 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" --policy none
	fails 64 "$D" -i e1 -m $MODEL -l "$RUN/s"
	says 'not an address'
	fails 64 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" --ready-fd 77
	[ ! -e "$RUN/s" ]
}

@test "--experts: a bad list names its part and the range" {
	fails 64 "$D" -n -i e1 -m $MODEL -l "shm:$RUN/s" --experts 0-3,16
	says "'16'"
	says 'experts 0-15'
	fails 64 "$D" -n -i e1 -m $MODEL -l "shm:$RUN/s" --experts 6:0
	says 'layers 0-5'
	fails 0 "$D" -n -i e1 -m $MODEL -l "shm:$RUN/s" --experts 0-1:3,2-5:0-3,15
	says 'dry run: 24 experts'
}

@test "a bad checkpoint: exit 65 before the port is open" {
	fails 65 "$D" -i e1 -m "$RUN/none" -l "shm:$RUN/s"
	broken_model
	fails 65 "$D" -i e1 -m "$RUN/broken" -l "shm:$RUN/s"
	says 'model.safetensors'
	[ ! -e "$RUN/s" ]
}

@test "weights cut short: exit 65, never ready" {
	cp -r $MODEL "$RUN/cut"
	truncate -s -1000 "$RUN/cut/model.safetensors"
	fails 65 "$D" -i e1 -m "$RUN/cut" -l "shm:$RUN/s"
	says 'model.safetensors'
}

@test "a cluster file: exit 65 with the line, 64 for a stranger" {
	printf 'moe-cluster 1\nmodel %s\nexpert e1 shm:%s/e1.sock\nnonsense\n' \
	    $MODEL "$RUN" >"$RUN/bad.conf"
	fails 65 "$D" -n -f "$RUN/bad.conf" -i e1
	says 'bad.conf:4'
	sed -i '$d' "$RUN/bad.conf"
	fails 64 "$D" -n -f "$RUN/bad.conf" -i e2
	says "'e2'"
	fails 0 "$D" -n -f "$RUN/bad.conf" -i e1
	says 'dry run: 96 experts'
}

@test "--memory too small: exit 64 with both numbers, no port, nothing read" {
	fails 64 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" --memory 18874367
	says '18874368'
	says '18874367'
	[ ! -e "$RUN/s" ]
	fails 0 "$D" -n -i e1 -m $MODEL -l "shm:$RUN/s" --memory 18874368
}

@test "what this build or machine lacks: exit 69" {
	fails 69 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" --isa none
	[ ! -e "$RUN/s" ]
	if ! nvidia-smi >/dev/null 2>&1; then
		fails 69 "$D" -i e1 -m $MODEL -l "shm:$RUN/s" --device cuda
	fi
}

@test "a taken address: exit 75, and the first server goes on" {
	serve e1
	fails 75 "$D" -i e2 -m $MODEL -l "shm:$RUN/e1.sock"
	kill -0 "$(pid_of e1)"
	[ -S "$RUN/e1.sock" ]
	stop e1
}

@test "TERM and INT drain: exit 0, the socket is gone" {
	serve e1
	stop e1
	[ ! -e "$RUN/e1.sock" ]
	serve e1
	kill -INT "$(pid_of e1)"
	wait "$(pid_of e1)"
	[ ! -e "$RUN/e1.sock" ]
}

@test "two signals leave at once" {
	serve e1
	kill -TERM "$(pid_of e1)"
	kill -TERM "$(pid_of e1)" || true
	wait "$(pid_of e1)"
}

@test "a server that was killed is followed by another on its socket" {
	serve e1
	kill -KILL "$(pid_of e1)"
	wait "$(pid_of e1)" || true
	[ -S "$RUN/e1.sock" ]
	serve e1
	stop e1
}

@test "USR1 dumps counters, and serving goes on" {
	serve e1
	kill -USR1 "$(pid_of e1)"
	retry 5 grep -q '96 resident' "$RUN/e1.log"
	grep -q 'refused: 0 bad' "$RUN/e1.log"
	stop e1
}

grown() { [ "$(grep -c 'experts (.*) loaded' "$RUN/e1.log")" = 2 ]; }

@test "HUP: a cluster file with an error changes nothing, a good one loads more" {
	printf 'moe-cluster 1\nmodel %s\nexpert e1 shm:%s/e1.sock\nexpert e2 shm:%s/e2.sock\n' \
	    $MODEL "$RUN" "$RUN" >"$RUN/c.conf"
	spawn e1 "$D" -f "$RUN/c.conf" -i e1
	grep -q '48 experts' "$RUN/e1.log"
	echo nonsense >>"$RUN/c.conf"
	kill -HUP "$(pid_of e1)"
	retry 5 grep -q 'c.conf:5.*as before' "$RUN/e1.log"
	sed -i '4,5d' "$RUN/c.conf"
	kill -HUP "$(pid_of e1)"
	retry 5 grown
	grep -q '^.*96 experts (.*) loaded' "$RUN/e1.log"
	stop e1
}

@test "an absent router costs nothing" {
	printf 'moe-cluster 1\nmodel %s\nexpert e1 shm:%s/e1.sock\nroute r1 shm:%s/r1.sock\n' \
	    $MODEL "$RUN" "$RUN" >"$RUN/c.conf"
	spawn e1 "$D" -f "$RUN/c.conf" -i e1
	stop e1
}

@test "an idle server takes no processor time" {
	serve e1
	cpu() { awk '{ print $14 + $15 }' "/proc/$(pid_of e1)/stat"; }
	local before
	before=$(cpu)
	sleep 1
	[ $(($(cpu) - before)) -le 1 ]
	stop e1
}

@test "--help names every option of the manual, and the manual every option" {
	"$D" --help | grep -o -- '--[a-z-]*' | sort -u >"$RUN/help"
	sed -n 's/^\.It Fl \(.* , \)\{0,1\}-\([a-z-]*\).*/--\2/p' man/moe-expertd.1 |
	    sort -u >"$RUN/man"
	diff "$RUN/help" "$RUN/man"
}
