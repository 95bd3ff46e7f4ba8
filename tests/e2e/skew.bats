#!/usr/bin/env bats
# Experts drawn instead of chosen: the same tokens under any batching and on any
# server, and every reply says that they are not the model's.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

ask() { # SEED
	curl -sf "$URL/v1/completions" -H 'Content-Type: application/json' \
	    -d '{"prompt":[5,6,7,8,9,10,11,12,13,14],"max_tokens":12,"temperature":0,"return_token_ids":true,"seed":'"$1"'}' |
	    jq -c '.choices[0].token_ids'
}

@test "--route-skew: refused alone, deterministic, and said everywhere" {
	local local_a local_b
	fails 64 "$BIN/moe-attnd" -m "$GOLDEN/mixtral" --local --route-skew exp -n
	fails 64 "$BIN/moe-attnd" -m "$GOLDEN/mixtral" --local --experiment --route-skew exp:x -n
	start_front plain -m "$GOLDEN/mixtral" --local
	local plain
	plain=$(ask 1)
	"$BIN/moe-bench" gen --routing exp --layers 9 --experts 9 >"$RUN/wrong.tsv"
	fails 65 "$BIN/moe-attnd" -m "$GOLDEN/mixtral" --local --experiment --route-skew "$RUN/wrong.tsv" -n
	start_front l -m "$GOLDEN/mixtral" --local --experiment --route-skew zipf:2 --chunk 3
	local_a=$(ask 1)
	local_b=$(ask 2)
	[ "$local_a" = "$(ask 1)" ]
	[ "$local_a" != "$plain" ]
	curl -sfi "$URL/v1/models" | tr -d '\r' >"$RUN/models"
	grep -qi '^moe-experiment: route-skew=zipf:2$' "$RUN/models"
	tail -n 1 "$RUN/models" | jq -e '.data[0].experiment == "route-skew=zipf:2"'
	curl -sf "$URL/metrics" | grep -q '^moe_experiment_info{experiment="route-skew=zipf:2"} 1$'
	grep -q 'experts are drawn from zipf:2' "$RUN/l.log"
	start_experts "$GOLDEN/mixtral" shm 2 1
	start_front f -m "$GOLDEN/mixtral" -f "$RUN/cluster.conf" --experiment --route-skew zipf:2 --groups 2
	[ "$local_a" = "$(ask 1)" ]
	[ "$local_b" = "$(ask 2)" ]
}
