#!/usr/bin/env bats
# The policies of moe-expertd on real daemons: the same bits under each of them
# as with no server at all, and counted under its name.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

bits() { # a hash of the tokens and logprobs of all cases, asked at once
	"$TOOL/golden" --all --tol 1e9 "$URL" $MODEL/golden.json >"$RUN/greedy" || true
	sed -n 's/.*hash=//p' "$RUN/greedy"
}

counted() { # POLICY
	grep -q "policy $1: [1-9][0-9]* rows in [1-9]" "$RUN/e1.log"
}

@test "every policy: the bits of --local" {
	local policy want
	start_front f -m $MODEL --threads 1 --local
	want=$(bits)
	[ -n "$want" ]
	stop f
	for policy in fifo wait mtfs flfs defrag auto; do
		start_experts $MODEL shm 3 2 --threads 1 --policy $policy --urgent 2ms
		start_front f -m $MODEL --threads 1 --groups 2 --chunk 16 -f "$RUN/cluster.conf"
		[ "$(bits)" = "$want" ] || { echo "other bits: $policy"; return 1; }
		kill -USR1 "$(pid_of e1)"
		retry 5 counted $policy
		stop f e1 e2 e3
	done
}
