#!/usr/bin/env bats
# Rows without a barrier on real daemons: the bits of --local in every mode,
# over shm and tcp, under policies on both sides, with servers killed meanwhile,
# and with requests that are cancelled.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

bits() { # a hash of the tokens and logprobs of all cases, asked at once
	"$TOOL/golden" --all --seed 42 "$URL" $MODEL/golden.json >"$RUN/drawn" || return 1
	"$TOOL/golden" --all --tol 1e9 "$URL" $MODEL/golden.json >"$RUN/greedy" || true
	sed 's/.*hash=//' "$RUN/drawn" "$RUN/greedy" | tr '\n' ' '
}

metric() { # NAME[{LABELS}]: the sum of what starts so
	curl -sf "$URL/metrics" | awk -v n="$1" 'index($0, n) == 1 { s += $NF } END { print s + 0 }'
}

local_bits() {
	start_front f -m $MODEL --threads 1 --local
	want=$(bits)
	[ -n "$want" ]
	stop f
}

@test "every mode and policy: the bits of --local" {
	local row
	local_bits
	start_experts $MODEL shm 3 2 --threads 1 --policy defrag --urgent 2ms
	while read -r row; do
		start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" $row
		[ "$(bits)" = "$want" ] || { echo "other bits: $row"; return 1; }
		stop f
	done <<'ROWS'
--groups 3 --chunk 16
--groups 5 --chunk 7
--groups free
--groups free --attn-policy fifo --chunk 7
--groups free --attn-policy defrag --attn-batch 4 --prompt-rows 9
--groups free --attn-policy auto --chunk 16
ROWS
}

@test "free, local and over tcp; its metrics" {
	local_bits
	start_front f -m $MODEL --threads 2 --local --groups free --attn-policy mtfs
	[ "$(bits)" = "$want" ]
	stop f
	start_experts $MODEL tcp 2 1 --threads 1
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --groups free --attn-policy flfs --chunk 5
	[ "$(bits)" = "$want" ]
	[ "$(metric moe_attention_pass_rows_count)" -gt 100 ]
	[ "$(curl -sf "$URL/metrics" | grep -c '^moe_attention_queue_rows')" -eq 7 ]
	awk "BEGIN { exit !($(metric 'moe_stall_seconds_total') > 0) }"
}

@test "free: servers killed in the middle, the bits stay" {
	local i job
	running() { [ "$(metric vllm:num_requests_running)" -gt 0 ]; }
	all_up() { [ "$(metric moe_servers_up)" -eq 3 ]; }
	local_bits
	start_experts $MODEL shm 3 2 --threads 1
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --groups free --chunk 7 --deadline 500ms
	for i in 1 2 3; do
		bits >"$RUN/got" &
		job=$!
		retry 20 running
		kill -KILL "$(pid_of e$i)"
		wait "$(pid_of e$i)" || true
		wait $job
		[ "$(cat "$RUN/got")" = "$want" ] || { echo "other bits: e$i killed"; return 1; }
		rm -f "$RUN/e$i.sock"
		spawn "e$i" "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i "e$i" --threads 1
		retry 20 all_up
	done
	[ "$(metric moe_requests_failed_total)" -eq 0 ]
}

@test "free: clients hang up, nothing stays behind" {
	local i
	start_experts $MODEL shm 2 1 --threads 1
	start_front f -m $MODEL --threads 1 -f "$RUN/cluster.conf" --groups free --no-prefix-cache
	for i in 1 2 3 4 5 6; do
		curl -sN "$URL/v1/completions" -d '{"prompt": "Once upon a time", "max_tokens": 900, "stream": true, "ignore_eos": true}' |
			head -n $i >/dev/null || true
	done
	none_used() { [ "$(metric moe_kv_pages_used)" -eq 0 ] && [ "$(metric vllm:num_requests_running)" -eq 0 ]; }
	retry 20 none_used
	stop f
}

@test "groups: what is refused" {
	fails 64 "$BIN/moe-attnd" -m $MODEL --local --groups 9
	fails 64 "$BIN/moe-attnd" -m $MODEL --local --groups 0
	fails 64 "$BIN/moe-attnd" -m $MODEL --local --groups fre
	fails 64 "$BIN/moe-attnd" -m $MODEL --local --attn-policy none
}
