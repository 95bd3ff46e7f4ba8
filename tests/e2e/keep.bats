#!/usr/bin/env bats
# Packed weights that outlive their process: --keep, --cache, --idle.

load ../lib/moe

MODEL=models/tales

setup() {
	run_dir
	KEEP=
	[ -w /dev/shm ] || lack shm "no /dev/shm"
	KEEP=$(mktemp -d /dev/shm/moe-test.XXXXXX)
}
teardown() {
	reap
	rm -rf "$KEEP"
}

server() { # ID [options]
	local id=$1
	shift
	spawn "$id" "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i "$id" "$@"
}

kill_it() { # ID
	kill -KILL "$(pid_of "$1")"
	wait "$(pid_of "$1")" || true
}

drawn() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

last_load() { grep 'were kept' "$RUN/$1.log" | tail -n 1; }

@test "a killed server maps what it had; two servers share it; bad bytes are not served" {
	local want f
	start_experts $MODEL shm 2 2 --keep "$KEEP"
	start_front f -m $MODEL -f "$RUN/cluster.conf"
	want=$(drawn)
	[ -n "$want" ]
	# 6 layers of 16 experts, once for both servers.
	[ "$(ls "$KEEP" | wc -l)" = 96 ]
	[ "$(stat -c %a "$KEEP"/*l0.e0-0)" = 400 ]
	kill_it e1
	server e1 --keep "$KEEP"
	last_load e1 | grep -q ': 96 of them were kept, 0 cached, 0 packed; 0 files'
	kill_it e2
	kill_it e1
	f=$(ls "$KEEP"/*l3.e7-7)
	chmod 600 "$f"
	printf '\252\252\252' | dd of="$f" bs=1 seek=5000 conv=notrunc 2>/dev/null
	chmod 400 "$f"
	server e1 --keep "$KEEP"
	last_load e1 | grep -q ': 95 of them were kept, 0 cached, 1 packed; 1 files'
	grep -q "l3.e7-7: the checksum of an expert is wrong" "$RUN/e1.log"
	server e2 --keep "$KEEP"
	last_load e2 | grep -q ': 96 of them were kept'
	[ "$(drawn)" = "$want" ]
}

@test "--cache: a copy on the disk instead of packing; both: the disk fills the memory" {
	local want
	start_experts $MODEL shm 1 1 --cache "$RUN/c"
	last_load e1 | grep -q '96 packed'
	start_front f -m $MODEL -f "$RUN/cluster.conf"
	want=$(drawn)
	kill_it e1
	server e1 --cache "$RUN/c" --keep "$KEEP"
	last_load e1 | grep -q ': 0 of them were kept, 96 cached, 0 packed'
	[ "$(drawn)" = "$want" ]
	stop f e1
	[ "$(ls "$KEEP" | wc -l)" = 96 ]
}

@test "--idle: blocks without rows leave memory, and are loaded for the rows that need them" {
	local i want
	start_experts $MODEL shm 1 1 --keep "$KEEP" --idle 300ms --block 4 -v
	start_front f -m $MODEL -f "$RUN/cluster.conf"
	want=$(drawn)
	for i in 1 2; do
		retry 20 sh -c "[ \"\$(ls '$KEEP' | wc -l)\" = 0 ]"
		curl -sf "$URL/health"
		[ "$(drawn)" = "$want" ]
	done
	grep -q 'idle experts leave memory' "$RUN/e1.log"
	! grep -q 'given up' "$RUN/f.log"
}

@test "folders that are refused" {
	D="$BIN/moe-expertd -i e1 -m $MODEL -l shm:$RUN/s"
	fails 64 $D --keep "$RUN/k"
	grep -q 'not in memory' "$RUN/err"
	chmod 777 "$KEEP"
	fails 64 $D --keep "$KEEP"
	grep -q 'nobody else may write' "$RUN/err"
	fails 75 $D --cache "$RUN/no/such/place"
}
