#!/usr/bin/env bats
# Expert servers die, hang and come back; not one token changes.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

again() { # ID: start it with the same command line
	spawn "$1" "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i "$1"
}

drawn() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

disturb() { # TRANSPORT SIGNAL
	local want got i id
	start_experts $MODEL "$1" 3 2
	start_front f -m $MODEL -f "$RUN/cluster.conf" --deadline 200ms
	want=$(drawn)
	for i in $(seq 6); do
		id=e$((i % 3 + 1))
		drawn >"$RUN/got" &
		if [ "$2" = KILL ]; then
			kill -KILL "$(pid_of $id)"
			wait "$(pid_of $id)" || true
		else
			kill -STOP "$(pid_of $id)"
		fi
		wait $!
		if [ "$2" = KILL ]; then again $id; else kill -CONT "$(pid_of $id)"; fi
		got=$(cat "$RUN/got")
		[ "$got" = "$want" ] || { echo "round $i: $got, want $want"; return 1; }
		# All of them are used again before the next one goes.
		retry 20 up_again
	done
}

up_again() { [ "$(curl -sf "$URL/metrics" | sed -n 's,^moe_servers_up[^ ]* ,,p')" = 3 ]; }

@test "a server killed while 8 streams run, shm" { disturb shm KILL; }
@test "a server killed while 8 streams run, tcp" { disturb tcp KILL; }
@test "a server stopped while 8 streams run, shm" { disturb shm STOP; }
@test "a server stopped while 8 streams run, tcp" { disturb tcp STOP; }

@test "no server yet: /health says which expert, requests wait, then 503" {
	printf 'moe-cluster 1\nexpert e1 shm:%s/e1.sock\n' "$RUN" >"$RUN/cluster.conf"
	spawn f "$BIN/moe-attnd" -p 127.0.0.1:0 -m $MODEL -f "$RUN/cluster.conf" --stall-limit 500ms
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/f.log")
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/health")" = 503 ]
	grep -q 'expert 0 of layer 0' "$RUN/out"
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/v1/completions" -d '{"prompt":"a","max_tokens":2}')" = 503 ]
	grep -q 'expert 0 of layer 0' "$RUN/out"
	# It comes: a request that waits is answered.
	curl -s "$URL/v1/completions" -d '{"prompt":"a","max_tokens":2}' >"$RUN/late" &
	late=$!
	again e1
	wait $late
	retry 20 curl -sf "$URL/health"
	curl -sf "$URL/v1/completions" -d '{"prompt":"a","max_tokens":2}' | grep -q '"completion_tokens":2'
}

counter() { curl -sf "$URL/metrics" | sed -n "s,^$1[^ ]* ,,p"; }

@test "--hedge: a stopped server's calls go to others long before the deadline; no token changes" {
	local want i
	start_experts $MODEL shm 3 2
	start_front f -m $MODEL -f "$RUN/cluster.conf" --deadline 60s --hedge 4
	want=$(drawn)
	for i in 1 2 3; do
		kill -STOP "$(pid_of e$i)"
		[ "$(drawn)" = "$want" ]
		kill -CONT "$(pid_of e$i)"
		[ "$(drawn)" = "$want" ]
	done
	[ "$(counter moe_hedges_total)" -gt 0 ]
	fails 64 "$BIN/moe-attnd" -m $MODEL --local --hedge 0.5
}
