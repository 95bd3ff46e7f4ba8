#!/usr/bin/env bats
# moe-bench drive on real servers: vLLM's key names, what is counted, and that
# two servers agree.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

drive() { "$BIN/moe-bench" drive -q "$@"; }

is() { jq -e "$1" "$RUN/sum" >/dev/null || { echo "not so: $1"; cat "$RUN/sum"; return 1; } >&2; }

@test "the summary has the keys of vllm bench serve" {
	local key
	start_front f -m models/tales --local
	drive -u "$URL" --random 24,12 -n 10 --vocab 4000 --rate 40 -o "$RUN/sum" --records "$RUN/rec"
	for key in duration completed total_input_tokens total_output_tokens \
	    request_throughput output_throughput total_token_throughput \
	    {mean,median,std,p99}_{ttft,tpot,itl,e2el}_ms max_concurrency request_rate \
	    num_prompts model_id date; do
		jq -e --arg k "$key" 'has($k)' "$RUN/sum" >/dev/null || { echo "no key $key"; cat "$RUN/sum"; return 1; }
	done
	is '.completed == 10 and .lost == 0 and .total_input_tokens == 240 and .total_output_tokens == 120'
	is '.generator_late_p99_ms >= 0 and .duration > 0'
	is '((.output_throughput - .total_output_tokens / .duration) | fabs) < 0.01 * .output_throughput'
	is '.median_ttft_ms > 0 and .p99_ttft_ms >= .median_ttft_ms and .mean_itl_ms > 0'
	head -n 1 "$RUN/rec" | grep -q '^#moe:'
	[ "$(wc -l <"$RUN/rec")" -eq 11 ]
}

@test "--check: three servers and --local agree on every token; another model does not" {
	start_experts models/tales shm 3 2
	start_front f -m models/tales -f "$RUN/cluster.conf"
	local url=$URL
	start_front g -m models/tales --local
	drive -u "$url" --check "$URL" --random 20,30 -n 12 --vocab 4000 --concurrency 4 -o "$RUN/sum"
	is '.completed == 12 and .lost == 0 and .wrong == 0'
	stop g
	start_front h -m models/tales --local --dtype f32 --alias other
	drive -u "$url" --check "$URL" --random 20,200 -n 6 --vocab 4000 --temperature 1 -o "$RUN/sum" || [ $? -eq 1 ]
	is '.completed == 6 and .wrong > 6 and .wrong <= .total_output_tokens'
}

@test "prompts of a file; a server that is not there" {
	start_front f -m models/tales --local
	printf 'Once upon a time\n{"prompt":"The king"}\n' >"$RUN/prompts"
	drive -u "$URL" --prompts "$RUN/prompts" --max-tokens 6 -o "$RUN/sum"
	is '.completed == 2'
	fails 75 drive -u http://127.0.0.1:9 --prompts "$RUN/prompts"
	fails 64 drive -u "$URL"
	fails 64 drive -u "$URL" --prompts "$RUN/none"
}

@test "e2e: set-ups by turns, the same tokens, nothing left behind" {
	TMPDIR=$RUN "$BIN/moe-bench" e2e -q -m models/tales -r 2 -n 96 --streams 1,3 --prompts 40 --setups local,2tcp >"$RUN/tsv"
	head -n 1 "$RUN/tsv" | grep -q '^#moe:e2e/1	setup	what'
	grep -v '^#' "$RUN/tsv" | awk -F '\t' '
		$1 == "local" && $8 != 1 { exit 1 }
		$5 < $6 || $5 > $7 || $5 <= 0 || $13 != 2 { exit 1 }
		$2 == "decode" && ($12 != 0 || $9 <= 0 || $10 <= 0) { exit 1 }
		{ n++ }
		END { exit n != 6 }' || { cat "$RUN/tsv"; return 1; } >&2
	! ls -d "$RUN"/moe-e2e.* 2>/dev/null
	TMPDIR=$RUN fails 75 "$BIN/moe-bench" e2e -q -m models/tales --setups 1shm --expertd-args --nonsense
	grep -q 'e1 did not get ready: .*nonsense' "$RUN/err"
	! ls -d "$RUN"/moe-e2e.* 2>/dev/null
	fails 64 "$BIN/moe-bench" e2e -m models/tales --setups 3udp
	fails 69 "$BIN/moe-bench" e2e -m models/tales --bin "$RUN"
	fails 64 "$BIN/moe-bench" e2e -m models/tales --attnd-args "--weights q8"
}

@test "kern: what a step does beside its products is right" {
	"$BIN/moe-bench" kern -o gate,rope,embed,head,sample,norm --rows 3 --shape 64,32,8,2 --time 1ms --threads 2 >"$RUN/tsv"
	grep -v '^#' "$RUN/tsv" | awk -F '\t' '
		$9 != 0 || $8 <= 0 { exit 1 }
		{ n++ }
		END { exit n != 6 }' || { cat "$RUN/tsv"; return 1; } >&2
}

@test "a closed standard output is an error, not the next file that is opened" {
	start_front f -m models/tales --local
	fails 75 closed drive -u "$URL" --random 4,4 -n 2
	grep -q 'cannot be written' "$RUN/err"
}
closed() { "$@" >&-; }
