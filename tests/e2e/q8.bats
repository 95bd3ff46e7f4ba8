#!/usr/bin/env bats
# --weights q8: the same tokens and logprobs wherever the experts are, the
# distance from f32, memory, files of packed weights, and who is refused.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

# Hashes of teacher-forced, greedy and drawn runs.
bits() { # [--all]
	"$TOOL/golden" "$@" --tol 1e9 --force "$URL" $MODEL/golden.json >"$RUN/force" &&
		"$TOOL/golden" "$@" --tol 1e9 "$URL" $MODEL/golden.json >"$RUN/greedy" || [ $? = 1 ] &&
		"$TOOL/golden" "$@" --seed 42 "$URL" $MODEL/golden.json >"$RUN/drawn" || return 1
	sed 's/.*hash=//' "$RUN/force" "$RUN/greedy" "$RUN/drawn" | tr '\n' ' '
}

@test "q8: the same bits locally, on one server and on three" {
	start_front f -m $MODEL --local --weights q8 --threads 1 --chunk 7
	want=$(bits)
	# Every logprob of the golden tokens against those of f32.
	echo "# q8 against f32: $(cut -d' ' -f1-3 "$RUN/force")" >&3
	rms=$(sed -n 's/.*rms=\([^ ]*\).*/\1/p' "$RUN/force")
	awk -v r="$rms" 'BEGIN { exit !(r > 0 && r < 0.1) }'
	[ "$(bits --all)" = "$want" ]
	stop f
	start_experts $MODEL shm 1 1 --weights q8 --threads 2
	start_front f -m $MODEL -f "$RUN/cluster.conf" --weights q8 --threads 2
	[ "$(bits --all)" = "$want" ]
	stop f e1
	start_experts $MODEL tcp 3 2 --weights q8 --threads 1
	start_front f -m $MODEL -f "$RUN/cluster.conf" --weights q8 --groups free
	[ "$(bits)" = "$want" ]
	[ "$(bits --all)" = "$want" ]
}

# The bytes of weights that a dry run names.
weights() {
	"$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/x" -i x -n "$@" 2>&1 |
		sed -n 's/.*experts (\([^)]*\)) of.*/\1/p'
}

@test "q8: half the memory, in --memory too" {
	native=$(weights) q8=$(weights --weights q8)
	echo "native $native, q8 $q8"
	awk -v a="${native% *}" -v b="${q8% *}" 'BEGIN { exit !(b > 0.5 * a && b < 0.56 * a) }'
	# What does not hold the native weights holds these.
	fails 64 "$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/x" -i x -n --memory 10M
	"$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/x" -i x -n --memory 10M --weights q8
}

@test "q8: a server of another form is refused, with both in the text" {
	start_experts $MODEL shm 1 1 --weights native --mixed
	spawn f "$BIN/moe-attnd" -m $MODEL -f "$RUN/cluster.conf" -p 127.0.0.1:0 --weights q8 --mixed
	retry 20 grep -q "weights: .* has bf16, .* has q8" "$RUN/f.log" ||
		retry 1 grep -q "weights: .* has q8, .* has bf16" "$RUN/f.log"
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/f.log")
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/health")" = 503 ]
}

@test "q8: files of packed weights know their form" {
	mkdir -m 700 "$RUN/cache"
	spawn e1 "$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/e1" -i e1 --cache "$RUN/cache"
	stop e1
	n=$(ls "$RUN/cache" | wc -l)
	spawn e1 "$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/e1" -i e1 --cache "$RUN/cache" --weights q8
	stop e1
	[ "$(ls "$RUN/cache" | wc -l)" = $((2 * n)) ]
	[ "$(ls "$RUN/cache" | grep -c -- -q8)" = "$n" ]
	! grep -i "not believed" "$RUN/e1.log"
	# Read again, they give the same weights.
	cp "$RUN/e1.log" "$RUN/first.log"
	start_experts $MODEL shm 1 1 --cache "$RUN/cache" --weights q8
	start_front f -m $MODEL -f "$RUN/cluster.conf" --weights q8
	a=$(bits --all)
	stop f e1
	start_front f -m $MODEL --local --weights q8
	[ "$(bits --all)" = "$a" ]
}

@test "q8: not on cuda" {
	fails 69 "$BIN/moe-expertd" -m $MODEL -l "shm:$RUN/x" -i x -n --device cuda --weights q8
	grep "q8" "$RUN/err"
}
