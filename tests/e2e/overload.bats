#!/usr/bin/env bats
# More requests than there is room or time for: refused early and by name, while
# those inside are answered.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

ask() { # FILE BODY: status on stdout, head in FILE.h, body in FILE
	curl -s -D "$1.h" -o "$1" -w '%{http_code}' "$URL/v1/completions" -d "$2"
}
LONG='{"prompt":[1,2],"max_tokens":700,"ignore_eos":true}'

metric_is() { [ "$(curl -sf "$URL/metrics" | sed -n "s,^$1[^ ]* ,,p")" = "$2" ]; }

retry_after() { # FILE: a whole number of seconds
	sed -n 's/^retry-after: \([0-9][0-9]*\).*/\1/Ip' "$1.h" | grep -q .
}

@test "--max-queue and --max-wait: 429 with Retry-After, the one that runs is answered" {
	start_front f -m $MODEL --local --max-seqs 1 --max-queue 2 --max-wait 200ms
	ask "$RUN/a" "$LONG" >"$RUN/a.code" &
	a=$!
	retry 10 metric_is vllm:num_requests_running 1
	ask "$RUN/b" "$LONG" >"$RUN/b.code" &
	b=$!
	wait $b
	# It has waited for 200ms, or was told at once that it would.
	[ "$(cat "$RUN/b.code")" = 429 ]
	retry_after "$RUN/b"
	grep -q -- --max-wait "$RUN/b"
	wait $a
	[ "$(cat "$RUN/a.code")" = 200 ]
	jq -e '.usage.completion_tokens == 700' "$RUN/a"
	# And it takes requests again.
	[ "$(ask "$RUN/c" '{"prompt":[1,2],"max_tokens":1}')" = 200 ]
}

@test "timeout in the request: 504, or an error event when the stream has begun" {
	start_front f -m $MODEL --local
	[ "$(ask "$RUN/a" '{"prompt":[1,2],"max_tokens":2,"timeout":30}')" = 200 ]
	[ "$(ask "$RUN/a" '{"prompt":[1,2],"max_tokens":700,"ignore_eos":true,"n":8,"timeout":0.05}')" = 504 ]
	[ "$(ask "$RUN/a" '{"prompt":[1,2],"max_tokens":700,"ignore_eos":true,"n":8,"timeout":0.3,"stream":true}')" = 200 ]
	sed -n 's/^data: //p' "$RUN/a" | tail -n 1 | jq -e '.error.code == 504'
	[ "$(ask "$RUN/a" '{"prompt":[1,2],"timeout":-1}')" = 400 ]
	retry 10 metric_is vllm:num_requests_running 0
}

@test "ten times what there is room for: every refusal a 429, every answer whole" {
	start_front f -m $MODEL --local --max-seqs 2 --max-queue 4
	local i pids=
	for i in $(seq 40); do
		ask "$RUN/r$i" '{"prompt":[1,2],"max_tokens":60,"ignore_eos":true}' >"$RUN/r$i.code" &
		pids="$pids $!"
	done
	wait $pids
	for i in $(seq 40); do
		case $(cat "$RUN/r$i.code") in
		200) jq -e '.usage.completion_tokens == 60' "$RUN/r$i" ;;
		429) retry_after "$RUN/r$i" ;;
		*) cat "$RUN/r$i.code"; return 1 ;;
		esac
	done
	grep -l 200 "$RUN"/r*.code
	grep -l 429 "$RUN"/r*.code
	[ "$(ask "$RUN/c" '{"prompt":[1,2],"max_tokens":1}')" = 200 ]
}
