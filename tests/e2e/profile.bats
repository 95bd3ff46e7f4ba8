#!/usr/bin/env bats
# Where a step's time goes: moe-attnd --profile and /metrics.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

ask() { curl -sf "$URL/v1/completions" -d '{"prompt":"Once upon a time","max_tokens":24,"temperature":1}' >/dev/null; }

# The parts of the last table in LOG add up to its total; MORE is what must have
# taken time, of awk's array us.
adds_up() { # LOG MORE
	awk -F '\t' '/^#moe:profile/ { split("", us); sum = 0; next }
		/^#/ || NF != 5 { next }
		{ us[$1] = $4 }
		$2 != "total" && $2 != "beside" { sum += $4 }
		END {
			d = sum - us["total"]
			if (d < 0) d = -d
			exit !(sum > 0 && d < 0.001 * sum && us["http"] > 0 && '"$2"')
		}' "$1" || { cat "$1"; return 1; } >&2
}

@test "--profile: a table at USR1 and at the end, whose parts add up" {
	start_front f -m models/tales --local --profile
	ask
	kill -USR1 "$(pid_of f)"
	retry 20 grep -q '^http	' "$RUN/f.log"
	adds_up "$RUN/f.log" 'us["experts"] > 0 && us["attention"] > 0 && us["head"] > 0 && us["copies"] == 0'
	ask
	stop f
	[ "$(grep -c '^#moe:profile/1' "$RUN/f.log")" -eq 2 ]
	adds_up "$RUN/f.log" 'us["sampling"] > 0 && us["output"] > 0 && us["gate"] > 0'
}

@test "with servers the step waits and copies; /metrics has the same parts, always" {
	start_experts models/tales shm 2 1
	start_front f -m models/tales -f "$RUN/cluster.conf"
	ask
	curl -sf "$URL/metrics" | grep '^moe_part_seconds_total' >"$RUN/parts"
	[ "$(wc -l <"$RUN/parts")" -eq 18 ]
	for part in copies waiting dispatch dense idle; do
		awk -v p="part=\"$part\"" 'index($0, p) { exit !($NF > 0) }' "$RUN/parts" ||
			{ echo "no $part"; cat "$RUN/parts"; return 1; } >&2
	done
	awk '/part="experts"/ { exit $NF > 0 }' "$RUN/parts"
	stop f
	! grep -q '^#moe:profile' "$RUN/f.log"
}
