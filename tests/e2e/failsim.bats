#!/usr/bin/env bats
# moe-failsim on real clusters: short drills.  tests/drills is the long one.

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

drill() { # statements on stdin, after the load's; options for moe-up
	{
		printf 'moe-drill 1\nstreams 8\nrequests 12\ntokens 48\ntemperature 0.9 0\nseed 11\n'
		cat
	} >"$RUN/drill"
	bin/moe-up -d -p 127.0.0.1:0 "$@" >"$RUN/up" 3>&- 4>&-
	"$F" run "$RUN/drill" >"$RUN/events" 3>&- 4>&-
	judged --max-stall 20000
}

judged() { # options for judge
	"$F" judge "$@" <"$RUN/events" >"$RUN/verdict" ||
		{ cat "$RUN/verdict" >&2; grep -v '	done	' "$RUN/events" | head -n 40 >&2; return 1; }
	echo "# $(tail -n 1 "$RUN/verdict")" >&3
}

@test "kills of random expert servers under 8 streams: nothing lost, nothing wrong, all of it told" {
	drill <<<'every 200ms-400ms count 12 kill expert restart 50ms'
	grep -q '0 lost, 0 wrong, 12 faults, 0 missed' "$RUN/verdict"
	[ "$(grep -c '	kill	' "$RUN/events")" -eq 12 ]
	[ "$(grep -c '	restart	' "$RUN/events")" -eq 12 ]
	[ "$(grep -c '	noticed	' "$RUN/events")" -ge 1 ]
	[ "$(grep -c '	touched	kill-expert	' "$RUN/events")" -ge 12 ]
	[ "$(cut -f 1 "$RUN/verdict" | sed -n 2,3p | tr '\n' ' ')" = 'kill-expert all ' ]
}

@test "servers that stand still, drain and die, and links that are disturbed, over tcp" {
	drill -t tcp --faults <<'END'
every 700ms count 3 stop expert for 400ms
at 200ms term e1 restart 100ms
at 1200ms kill e2 restart 100ms
tokens-out 1000 kill route restart 100ms
at 100ms-200ms link e3 delay=3ms,jitter=2ms for 300ms
at 1s link e3 corrupt-payload=0.2 for 300ms
at 1600ms link e3 half-open=in for 300ms
at 300ms load 2x for 500ms
at 500ms do test -n "$MOE_URL"
END
	grep -q '0 lost, 0 wrong, 11 faults, 0 missed' "$RUN/verdict"
	[ "$(grep -c '	healed	' "$RUN/events")" -eq 3 ]
	grep -q '^link-corrupt-payload	1	' "$RUN/verdict"
	grep -q 'deadline\|silent\|crc\|checksum\|closed' "$RUN/events"
}

@test "a rolling restart of two front ends, the router and the servers; judge says what it sees" {
	local line n
	drill -a 2 <<<'at 100ms roll any'
	grep -q '0 lost, 0 wrong, 6 faults, 0 missed' "$RUN/verdict"
	[ "$(grep -c '	back	' "$RUN/events")" -eq 6 ]
	cp "$RUN/events" "$RUN/good"
	# Not well, but whole.
	sed 's/stall_us=[0-9]*/stall_us=9000000/' "$RUN/good" >"$RUN/events"
	fails 1 "$F" judge -b --max-stall 5000 <"$RUN/events"
	[ "$(wc -l <"$RUN/out")" -eq 1 ]
	fails 1 "$F" judge --max-p99 8000 <"$RUN/events"
	n=$(grep -c '	done	' "$RUN/good")
	sed -e "0,/	done	/s//	lost	/" -e "s/ done=$n lost=0/ done=$((n - 1)) lost=1/" "$RUN/good" >"$RUN/events"
	fails 1 "$F" judge <"$RUN/events"
	"$F" judge --max-lost 1 <"$RUN/events" >/dev/null
	# Not whole, or not true.
	for line in 's/	done	/	lost	/' 's/	done	/	wrong	/' '/	done	/d' '/	end	/d' '/	roll	/d' \
	    '/	begin	/d' '/	touched	/d'; do
		sed "$line" "$RUN/good" >"$RUN/events"
		! cmp -s "$RUN/good" "$RUN/events" || return 1
		fails 65 "$F" judge --max-stall 5000 <"$RUN/events"
	done
	fails 65 "$F" judge </dev/null
}

@test "random faults: the seed says which" {
	bin/moe-up -d --faults -a 2 -p 127.0.0.1:0 >"$RUN/up" 3>&- 4>&-
	"$F" run --random -s 3 --for 4s -n >"$RUN/a"
	"$F" run --random -s 3 --for 4s -n >"$RUN/b"
	"$F" run --random -s 4 --for 4s -n >"$RUN/c2"
	cmp "$RUN/a" "$RUN/b"
	! cmp -s "$RUN/a" "$RUN/c2" || return 1
	"$F" run --random -s 3 --for 4s >"$RUN/events" 3>&- 4>&-
	judged
	[ "$(grep -c '^at ' "$RUN/a")" -eq "$(grep -c '	fault=[0-9]* line=' "$RUN/events")" ]
	echo nonsense >"$RUN/drill"
	fails 65 "$F" run "$RUN/drill"
	grep -q 'drill:1' "$RUN/err"
	bin/moe-down 3>&- 4>&-
	printf 'moe-drill 1\nat 1ms kill e1\n' >"$RUN/drill"
	fails 75 "$F" run -u http://127.0.0.1:9 "$RUN/drill"
}
