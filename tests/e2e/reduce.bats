#!/usr/bin/env bats
# --reduce: sums by servers.  exact: the bits of --local under every placement,
# mode and failure; sum: answers that say what they are.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

bits() { # a hash of the tokens and logprobs of all cases, asked at once
	"$TOOL/golden" --all --seed 42 "$URL" $MODEL/golden.json >"$RUN/drawn" || return 1
	sed 's/.*hash=//' "$RUN/drawn"
}

metric() { # NAME: the sum of what starts so
	curl -sf "$URL/metrics" | awk -v n="$1" 'index($0, n) == 1 { s += $NF } END { print s + 0 }'
}

@test "exact: the bits of --local, whatever the servers, modes and deaths" {
	local want job n
	start_front f -m $MODEL --threads 1 --local --reduce exact
	want=$(bits)
	[ -n "$want" ]
	stop f
	start_front f -m $MODEL --threads 1 --local --reduce exact --groups free
	[ "$(bits)" = "$want" ]
	stop f
	for n in 1 3; do
		start_experts $MODEL shm $n 1 --threads 1
		start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --reduce exact --groups $n
		[ "$(bits)" = "$want" ] || { echo "other bits on $n servers"; return 1; }
		stop f
		for job in $(seq $n); do stop "e$job"; done
	done
	start_experts $MODEL tcp 3 2 --threads 1 --policy defrag
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --reduce exact --groups free --deadline 500ms --hedge 2
	bits >"$RUN/got" &
	job=$!
	running() { [ "$(metric vllm:num_requests_running)" -gt 0 ]; }
	retry 20 running
	kill -KILL "$(pid_of e2)"
	wait $job
	[ "$(cat "$RUN/got")" = "$want" ] || { echo "other bits: e2 killed"; return 1; }
	[ "$(metric moe_requests_failed_total)" -eq 0 ]
}

@test "sum: right answers, fewer bytes, and a word of it in every answer" {
	local plain
	start_experts $MODEL shm 1 1 --threads 1 --dtype f32
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --dtype f32
	bits >/dev/null
	plain=$(metric moe_combine_bytes_total)
	stop f
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --dtype f32 --reduce sum
	bits >/dev/null
	[ "$(metric moe_combine_bytes_total)" -lt "$plain" ]
	"$TOOL/golden" --all "$URL" $MODEL/golden.json
	curl -sfi "$URL/v1/models" | grep -qi '^moe-experiment: reduce=sum'
}
