#!/usr/bin/env bats
# moe-route front before three front ends that are killed and stopped in the
# middle of answers: what clients get does not change by a byte.

load ../lib/moe

MODEL=models/tales

setup() {
	run_dir
	local i=0 port
	{
		echo "moe-cluster 1"
		for port in $("$TOOL/freeport" 3); do
			i=$((i + 1))
			echo "front a$i 127.0.0.1:$port"
		done
	} >"$RUN/cluster.conf"
	for i in 1 2 3; do again a$i; done
	spawn door "$BIN/moe-route" front -f "$RUN/cluster.conf" -p 127.0.0.1:0 \
	    --hang 300ms --probe 50ms --probe-away 20ms
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/door.log")
	retry 20 well 3
}
teardown() { reap; }

again() { # ID: start it with the same command line
	spawn "$1" "$BIN/moe-attnd" -m $MODEL --local --threads 1 -i "$1" \
	    -p "$(awk -v id="$1" '$2 == id { print $3 }' "$RUN/cluster.conf")"
}

well() { # N: the door says that N front ends are well
	[ "$(curl -sf "$URL/metrics" | grep -c '^moe_front_up_state{.*} 2$')" = "$1" ]
}

metric() { curl -sf "$URL/metrics" | sed -n "s/^$1 //p"; }

# The front ends that have something to do, the busiest first.
busy() {
	curl -sf "$URL/metrics" |
	    sed -n 's/^moe_front_up_requests{front="\(.*\)"} \([1-9].*\)/\2 \1/p' |
	    sort -rn | cut -d ' ' -f 2
}

# One id for all of an answer; what may differ between two runs goes: also the
# order of events of different choices.
plain() { # FILE
	[ "$(grep -o '"id":"[^"]*"' "$1" | sort -u | wc -l)" -eq 1 ] || echo "several ids"
	sed -E 's/"id":"[^"]*"//; s/"created":[0-9]+//; s/"cached_tokens":[0-9]+//' "$1" |
	    awk '{ print match($0, /"index":[0-9]+/) ? substr($0, RSTART + 8, RLENGTH - 8) : 999, $0 }' |
	    sort -s -n -k 1,1
}

ask() { # PATH BODY FILE
	curl -sN --max-time 300 "$URL/v1/$1" -d "$2" >"$3"
}

events() { # N FILE: it has that many
	[ "$(grep -c '^data: ' "$2" || true)" -ge "$1" ]
}

generated() { # N ID: tokens that this front end has made
	[ "$(curl -sf "http://$(awk -v id="$2" '$2 == id { print $3 }' "$RUN/cluster.conf")/metrics" |
	    sed -n 's/^vllm:generation_tokens_total.* //p')" -ge "$1" ]
}

# Do it to the busiest front end; victim is empty when all have ended.
hit() { # SIGNAL
	victim=$(busy | head -n 1)
	[ -z "$victim" ] || kill "-$1" "$(pid_of "$victim")"
}

repair() { # SIGNAL ID
	if [ -z "$2" ]; then
		return 0
	elif [ "$1" = KILL ]; then
		wait "$(pid_of "$2")" || true
		again "$2"
	else
		kill -CONT "$(pid_of "$2")"
	fi
	retry 20 well 3
}

# On a busy machine an answer may have ended before the signal comes.
disturb() { # SIGNAL PATH BODY
	local before i
	ask "$2" "$3" "$RUN/want"
	before=$(metric moe_front_resumes_total)
	for i in 1 2 3 4 5; do
		disturb_once "$@"
		[ "$(metric moe_front_resumes_total)" = "$before" ] || return 0
	done
	echo "$1 $2 $3: came too late"
	return 1
}

disturb_once() { # SIGNAL PATH BODY
	local had
	: >"$RUN/got"
	ask "$2" "$3" "$RUN/got" &
	had=$!
	case $3 in
	*'"stream":true'*) retry 100 events 20 "$RUN/got" ;;
	*)
		retry 2 eval '[ -n "$(busy)" ]' || true
		victim=$(busy | head -n 1)
		[ -z "$victim" ] || retry 2 generated 450 "$victim" || true
		;;
	esac
	hit "$1"
	wait $had
	diff <(plain "$RUN/want") <(plain "$RUN/got") >"$RUN/diff" ||
		{ echo "$1 $2 $3:"; head -c 2000 "$RUN/diff"; return 1; }
	repair "$1" "$victim"
}

STREAM='"stream":true,"stream_options":{"include_usage":true}'

all_kinds() { # SIGNAL
	disturb "$1" completions '{"prompt":"Once upon a time","temperature":0,"max_tokens":400,"ignore_eos":true,"return_token_ids":true,'"$STREAM"'}'
	disturb "$1" completions '{"prompt":"The old king","seed":4,"n":2,"max_tokens":300,"ignore_eos":true,"logprobs":2,'"$STREAM"'}'
	disturb "$1" completions '{"prompt":"A ship","seed":5,"temperature":1.5,"max_tokens":600,"min_tokens":450,"ignore_eos":true,"stop":["e ","ing"],'"$STREAM"'}'
	disturb "$1" chat/completions '{"messages":[{"role":"user","content":"Tell me."}],"seed":6,"max_tokens":300,"ignore_eos":true,"logprobs":true,"top_logprobs":1,'"$STREAM"'}'
}

@test "a front end is killed in the middle of an answer" { all_kinds KILL; }
@test "a front end is stopped in the middle of an answer" { all_kinds STOP; }

@test "killed in the middle of an answer that is not streamed" {
	disturb KILL completions '{"prompt":"Two dogs","seed":8,"n":2,"max_tokens":400,"ignore_eos":true,"logprobs":1,"return_token_ids":true}'
}

@test "the door answers as a front end does" {
	local direct body path
	direct=http://$(awk '$2 == "a1" { print $3 }' "$RUN/cluster.conf")
	while read -r path body; do
		curl -s "$URL/v1/$path" -d "$body" >"$RUN/got"
		curl -s "$direct/v1/$path" -d "$body" >"$RUN/want"
		diff <(plain "$RUN/want") <(plain "$RUN/got")
	done <<-'END'
		completions {"prompt":["Once upon","The dog"],"seed":1,"n":2,"max_tokens":8,"echo":true,"logprobs":2}
		completions {"prompt":"Once upon","seed":1,"max_tokens":8,"stop":"e","return_token_ids":true}
		completions {"prompt":"Once upon","max_tokens":0,"echo":true,"logprobs":1}
		completions {"prompt":"Once upon","seed":1,"max_tokens":8,"logprobs":1,"stream":true}
		chat/completions {"messages":[{"role":"user","content":"hi"}],"seed":1,"max_tokens":8,"logprobs":true}
	END
	[ "$(curl -s "$URL/v1/models")" = "$(curl -s "$direct/v1/models")" ]
	curl -s "$URL/tokenize" -d '{"content":"a dog"}' | grep -q '"tokens":\['
	[ "$(curl -s -o "$RUN/got" -w '%{http_code}' "$URL/v1/completions" -d '{"prompt":"a","n":0}')" = 400 ]
	[ "$(curl -s -o "$RUN/got" -w '%{http_code}' "$URL/v1/completions" -d '{')" = 400 ]
}

stalls() { # WHAT: of the log on stdin
	sed -n 's/.*goes on at .* after //p' | awk '
		/ us$/ { print $1 / 1000; next } / ms$/ { print $1; next } { print $1 * 1000 }' | sort -n |
	    awk -v what="$1" '{ v[NR] = $1 } END { printf "# %d streams went on after a %s: stall p50 %.1f ms, max %.1f ms\n", NR, what, v[int((NR + 1) / 2)], v[NR] }' >&3
}

# Eight streams at a time, of short and long contexts, while front ends die and
# hang one after another.
@test "front ends die and hang under load: no answer changes" {
	local i j bad=0 kind seed long log
	long=$(printf 'One day the girl walked to the river. %.0s' $(seq 50))
	for j in $(seq 8); do
		seed=$j
		printf '{"prompt":"%s","seed":%d,"temperature":%s,"max_tokens":200,"ignore_eos":true,%s}' \
		    "$([ $((j % 2)) = 0 ] && echo "$long$j" || echo "Once $j")" "$seed" \
		    "$([ $((j % 3)) = 0 ] && echo 0 || echo 1)" "$STREAM" >"$RUN/q$j"
		ask completions "@$RUN/q$j" "$RUN/w$j"
	done
	for i in $(seq 6); do
		kind=$([ $i -gt 4 ] && echo STOP || echo KILL)
		log=$(wc -l <"$RUN/door.log")
		for j in $(seq 8); do
			: >"$RUN/g$j"
			ask completions "@$RUN/q$j" "$RUN/g$j" &
			echo $! >"$RUN/p$j"
		done
		retry 100 events 20 "$RUN/g$((i % 8 + 1))"
		hit $kind
		for j in $(seq 8); do
			wait "$(cat "$RUN/p$j")"
			diff <(plain "$RUN/w$j") <(plain "$RUN/g$j") >"$RUN/diff" ||
				{ echo "round $i stream $j:"; head -c 1000 "$RUN/diff"; bad=1; }
		done
		tail -n +$log "$RUN/door.log" >>"$RUN/stalls.$kind"
		repair $kind "$victim"
	done
	[ $bad = 0 ]
	stalls KILL <"$RUN/stalls.KILL"
	stalls STOP <"$RUN/stalls.STOP"
	[ "$(metric moe_front_resumes_total)" -ge 4 ]
	[ "$(metric moe_front_failed_total)" = 0 ]
}

# Two doors share the front ends.  One dies with an answer half out; its client
# takes the same request and key to the other.
@test "a door dies in the middle of an answer: the same key at another door, the same answer" {
	local q='{"prompt":"The old king","temperature":1,"n":2,"max_tokens":300,"ignore_eos":true,"return_token_ids":true,'"$STREAM"'}' one had
	spawn door2 "$BIN/moe-route" front -f "$RUN/cluster.conf" -p 127.0.0.1:0 --probe 50ms
	one=$URL
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/door2.log")
	retry 20 well 3
	curl -sN --max-time 60 -H 'Idempotency-Key: k1' "$one/v1/completions" -d "$q" >"$RUN/cut" &
	had=$!
	retry 20 events 20 "$RUN/cut"
	kill -KILL "$(pid_of door)"
	wait "$(pid_of door)" || true
	wait $had || true
	curl -sN --max-time 60 -H 'Idempotency-Key: k1' "$URL/v1/completions" -d "$q" >"$RUN/got"
	grep -q '^data: \[DONE\]' "$RUN/got"
	# What the first one sent of each choice is how the second begins, under one id.
	[ "$(cat "$RUN/cut" "$RUN/got" | grep -o '"id":"[^"]*"' | sort -u | wc -l)" -eq 1 ]
	for i in 0 1; do
		part() { grep "\"index\":$i[,}]" "$1" | grep -o '"token_ids":\[[^]]*\]' | tr -dc '0-9,\n' | paste -s -d , ; }
		part "$RUN/cut" >"$RUN/a"
		part "$RUN/got" >"$RUN/b"
		[ "$(wc -c <"$RUN/a")" -gt 10 ]
		# Its last event may be cut.
		[ "$(head -c $(($(wc -c <"$RUN/a") - 5)) "$RUN/a")" = "$(head -c $(($(wc -c <"$RUN/a") - 5)) "$RUN/b")" ]
	done
	# Again: not computed again.
	curl -sNi --max-time 60 -H 'Idempotency-Key: k1' "$URL/v1/completions" -d "$q" >"$RUN/again"
	grep -qi '^idempotent-replayed: true' "$RUN/again"
	[ "$(metric moe_front_requests_total)" = 1 ]
}

@test "moe-up -a 2: a door, two front ends behind it, one of them dies" {
	export MOE_BIN=$PWD/$BIN
	bin/moe-up -d -D "$RUN/c" -p 127.0.0.1:0 -a 2 -e 2 >"$RUN/up" 2>"$RUN/up.err" 3>&- 4>&- ||
		{ cat "$RUN/up.err"; return 1; }
	URL=$(cat "$RUN/up")
	[ "$(cut -f 1 "$RUN/c/procs.tsv" | grep -v '#' | sort | uniq -c | awk '{ print $2 $1 }' | xargs)" = "attnd2 expertd2 front1 route1" ]
	retry 20 well 2
	kill -KILL "$(awk -F '\t' '$2 == "a1" { print $3 }' "$RUN/c/procs.tsv")"
	curl -sf "$URL/v1/completions" -d '{"prompt":"a","max_tokens":4}' | grep -q '"completion_tokens":4'
	"$RUN/c/cmd/a1" 3>&- 4>&- &
	retry 20 well 2
	bin/moe-down -D "$RUN/c" 3>&- 4>&-
	# Exactly 1: none found; a missing pgrep is no answer.
	fails 1 pgrep -f "$RUN/c/cluster.conf"
}

@test "wrong command lines and files are said to be so" {
	fails 64 "$BIN/moe-route" front
	fails 64 "$BIN/moe-route" front --to nowhere
	fails 64 "$BIN/moe-route" front --to 127.0.0.1:1 -p 0.0.0.0:0
	fails 64 "$BIN/moe-route" front --to 127.0.0.1:1 --hang 0
	printf 'moe-cluster 1\nexpert e1 shm:/x\n' >"$RUN/none.conf"
	fails 65 "$BIN/moe-route" front -f "$RUN/none.conf"
	"$BIN/moe-route" front -n -f "$RUN/cluster.conf" | grep -qx ok
}
