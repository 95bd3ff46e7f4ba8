#!/usr/bin/env bats
# moe-failsim on a real cluster: a short drill.  tests/drills is the long one.

load ../lib/moe

setup() {
	run_dir
	export MOE_BIN=$PWD/$BIN MOE_DIR=$RUN/c
	F=$BIN/moe-failsim
}

teardown() {
	bin/moe-down 3>&- 4>&- 2>/dev/null || true
	reap
}

drill() { # statements on stdin, after the load's
	{
		printf 'moe-drill 1\nstreams 8\nrequests 12\ntokens 48\ntemperature 0.9\nseed 11\n'
		cat
	} >"$RUN/drill"
	bin/moe-up -d -p 127.0.0.1:0 "$@" >"$RUN/up" 3>&- 4>&-
	"$F" run "$RUN/drill" >"$RUN/events" 3>&- 4>&-
	"$F" judge --max-stall 20000 <"$RUN/events" >"$RUN/verdict" ||
		{ cat "$RUN/verdict" >&2; grep -v '	done	' "$RUN/events" | head -n 40 >&2; return 1; }
	echo "# $(cat "$RUN/verdict")" >&3
}

@test "20 kills of random expert servers under 8 sampled streams: nothing lost, nothing wrong" {
	drill <<<'every 300ms count 20 kill expert restart 50ms'
	grep -q '0 lost, 0 wrong, 20 faults, 0 missed' "$RUN/verdict"
	[ "$(grep -c '	kill	' "$RUN/events")" -eq 20 ]
	[ "$(grep -c '	restart	' "$RUN/events")" -eq 20 ]
}

@test "servers that stand still, drain and die, over tcp" {
	drill -t tcp <<'END'
every 700ms count 4 stop expert for 400ms
at 200ms term e1 restart 100ms
at 1200ms kill e2 restart 100ms
tokens-out 2000 kill route restart 100ms
END
	grep -q '0 lost, 0 wrong, 7 faults, 0 missed' "$RUN/verdict"
}

@test "judge says no to what is not right" {
	local line n=0
	bin/moe-up -d -e 1 -r 1 -p 127.0.0.1:0 >"$RUN/up" 3>&- 4>&-
	printf 'moe-drill 1\nstreams 1\ntokens 4\nat 1ms stop e1 for 10ms\n' >"$RUN/drill"
	"$F" run "$RUN/drill" >"$RUN/good" 3>&- 4>&-
	"$F" judge <"$RUN/good"
	for line in 's/	done	/	lost	/' 's/	done	/	wrong	/' '/	done	/d' '/	end	/d' \
	    's/stall_us=[0-9]*/stall_us=9000000/'; do
		sed "$line" "$RUN/good" >"$RUN/events"
		! cmp -s "$RUN/good" "$RUN/events" || return 1
		fails 1 "$F" judge --max-stall 5000 <"$RUN/events"
		[ "$(wc -l <"$RUN/out")" -eq 1 ]
	done
	fails 1 "$F" judge </dev/null
	echo nonsense >"$RUN/drill"
	fails 65 "$F" run "$RUN/drill"
	grep -q 'drill:1' "$RUN/err"
	bin/moe-down 3>&- 4>&-
	printf 'moe-drill 1\nat 1ms kill e1\n' >"$RUN/drill"
	fails 75 "$F" run -u http://127.0.0.1:9 "$RUN/drill"
}
