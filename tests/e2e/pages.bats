#!/usr/bin/env bats
# KV pages copied between front ends: an answer that goes on elsewhere finds its
# context there, and is the same without.

load ../lib/moe

setup() {
	run_dir
	export MOE_BIN=$PWD/$BIN
}
teardown() {
	bin/moe-down -D "$RUN/c" >/dev/null 2>&1
	rm -rf "$RUN"
}

up() { # [moe-up options]
	bin/moe-up -d -D "$RUN/c" -p 127.0.0.1:0 "$@" >"$RUN/up" 2>"$RUN/up.err" 3>&- 4>&- ||
		{ cat "$RUN/up.err"; return 1; }
	URL=$(cat "$RUN/up")
	retry 20 metric_is moe_front_up_state 2 2 2
}

url_of() { awk -v id="$1" '$2 == id { print "http://" $3 }' "$RUN/c/cluster.conf"; }
pid() { awk -F '\t' -v id="$1" '$2 == id { print $3 }' "$RUN/c/procs.tsv"; }

# metric_is NAME VALUE...: the door's, one for each label
metric_is() {
	local name=$1
	shift
	[ "$(curl -sf "$URL/metrics" | sed -n "s/^$name\({.*}\)\{0,1\} //p" | xargs)" = "$*" ]
}
metric() { # ID NAME
	curl -sf "$(url_of "$1")/metrics" | sed -n "s/^$2{.*} //p"
}
copied() { # PAGES: together
	local n
	n=$(($(metric a1 moe_pages_sent_total) + $(metric a2 moe_pages_sent_total) + $(metric a3 moe_pages_sent_total)))
	[ $n -ge "$1" ]
}
neighbours() { # N: each has so many
	local id
	for id in a1 a2 a3; do
		[ "$(metric $id moe_page_peers_up)" = "$1" ] || return 1
	done
}

LONG=$(printf 'One day the girl walked to the river. %.0s' $(seq 50))

body() { # N
	printf '{"prompt":"Tale %d. %s","seed":%d,"max_tokens":400,"ignore_eos":true,"stream":true,"return_token_ids":true,"stream_options":{"include_usage":true}}' "$1" "$LONG" "$1"
}
ids() { # FILE
	grep -o '"token_ids":\[[^]]*\]' "$1" | tr -dc '0-9,\n'
}
busy() { # the front end that works on something
	curl -sf "$URL/metrics" |
	    sed -n 's/^moe_front_up_requests{front="\(.*\)"} [1-9].*/\1/p' | head -n 1
}
events() { [ "$(grep -c '^data: ' "$2" || true)" -ge "$1" ]; }

# kill_busy N FILE: ask, kill the front end in the middle; victim, heir are set.
# The answer may have ended before the signal comes.
kill_busy() {
	local had
	: >"$2"
	curl -sN --max-time 60 "$URL/v1/completions" -d "$(body "$1")" >"$2" &
	had=$!
	retry 20 events 20 "$2"
	victim=$(busy)
	[ -z "$victim" ] || kill -KILL "$(pid "$victim")"
	wait $had
	[ -n "$victim" ] || return 0
	"$RUN/c/cmd/$victim" 3>&- 4>&- &
	heir=a$((${victim#a} % 3 + 1))
	retry 20 metric_is moe_front_up_state 2 2 2
}

@test "a front end dies: the next one has the pages, and the answer is the same" {
	up -a 3 -e 2
	retry 20 neighbours 1
	local n=0 had i
	for i in 1 2 3 4 5 6; do
		curl -sN "$URL/v1/completions" -d "$(body $i)" >"$RUN/want"
		retry 20 neighbours 1
		had=$(metric a1 moe_kv_copy_hits_total),$(metric a2 moe_kv_copy_hits_total),$(metric a3 moe_kv_copy_hits_total)
		kill_busy $i "$RUN/got"
		diff <(ids "$RUN/want") <(ids "$RUN/got")
		[ -z "$victim" ] && continue
		# 451 tokens of prompt are 28 pages; all of them came in time.
		i=$(echo "$had" | cut -d , -f "${heir#a}")
		[ $(($(metric "$heir" moe_kv_copy_hits_total) - i)) -lt 20 ] || n=$((n + 1))
		[ $n -lt 2 ] || break
	done
	[ $n -ge 2 ]
	copied 20
	grep -q 'pages: .* is away' "$RUN"/c/log/a?.log
}

@test "without copies the answer is the same, too" {
	up -a 3 -e 2 -- --page-copies 0
	neighbours 0
	curl -sN "$URL/v1/completions" -d "$(body 1)" >"$RUN/want"
	kill_busy 1 "$RUN/got"
	diff <(ids "$RUN/want") <(ids "$RUN/got")
	! copied 1
}

@test "a front end is stopped again and again: false alarms change nothing" {
	up -a 3 -e 2
	local had i u
	curl -sN "$URL/v1/completions" -d "$(body 1)" >"$RUN/want"
	for i in 1 2 3 4 5 6; do
		: >"$RUN/got"
		curl -sN --max-time 60 "$URL/v1/completions" -d "$(body 1)" >"$RUN/got" &
		had=$!
		retry 20 events 20 "$RUN/got"
		while u=$(busy) && [ -n "$u" ]; do
			kill -STOP "$(pid "$u")"
			sleep 0.1	# about what makes a suspect
			kill -CONT "$(pid "$u")"
		done
		wait $had
		diff <(ids "$RUN/want") <(ids "$RUN/got")
		metric_is moe_front_suspects_total 0 || break
	done
	! metric_is moe_front_suspects_total 0
	metric_is moe_front_failed_total 0
}

@test "wrong values are said to be so" {
	fails 64 "$BIN/moe-attnd" -m models/tales --local --page-rate 0
	fails 64 "$BIN/moe-attnd" -m models/tales --local --page-copies 9
	fails 64 "$BIN/moe-route" front --to 127.0.0.1:1 --suspect 10us
	fails 64 "$BIN/moe-route" front --to 127.0.0.1:1 --suspect 2s --suspect-max 10ms
}
