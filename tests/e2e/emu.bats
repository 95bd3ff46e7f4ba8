#!/usr/bin/env bats
# Daemons on emulated devices: the tokens of the cpu, the time of the device.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

ask() {
	curl -sf "$URL/v1/completions" -H 'Content-Type: application/json' \
	    -d '{"prompt":[5,6,7,8],"max_tokens":6,"temperature":0,"return_token_ids":true}' |
	    jq -c '.choices[0].token_ids'
}

@test "emulated devices: the same tokens, dilated time, figures at the end" {
	local want m="$GOLDEN/mixtral" dev=emu:a100-80,as=mixtral-mqa
	start_front plain -m "$m" --local
	want=$(ask)
	stop plain
	fails 64 "$BIN/moe-attnd" -m "$m" --local --device emu:h100,skip -n
	fails 64 "$BIN/moe-expertd" -m "$m" -l shm:"$RUN/x" -i x --device emu:none -n
	fails 64 "$BIN/moe-expertd" -m "$m" -l shm:"$RUN/x" -i x --device gpu -n
	start_experts "$m" shm 2 1 --device $dev --emu-scale 5
	start_front f -m "$m" -f "$RUN/cluster.conf" --device $dev --emu-scale 5
	[ "$(ask)" = "$want" ]
	curl -sfi "$URL/v1/models" | grep -qi "^moe-experiment: device=$dev x5"
	curl -sf "$URL/metrics" >"$RUN/metrics"
	grep -q '^moe_emu_busy_seconds_total 0\.' "$RUN/metrics"
	grep -q '^moe_emu_error_ratio ' "$RUN/metrics"
	stop f
	stop e1
	grep -q 'emulated: busy .* times are wrong by at most' "$RUN/f.log"
	grep -q 'emulated: busy .* times are wrong by at most' "$RUN/e1.log"
}
