#!/usr/bin/env bats
# The HTTP API of a real server on the bundled model: every endpoint, what a
# good request gets, and what a bad one gets.

load ../lib/moe

MODEL=models/tales
ONCE='"prompt":"Once upon a time"'

setup_file() {
	run_dir
	export RUN
	start_front f -m $MODEL --local
	export URL
	# It has 30 s for its request and sends a byte a second; the last test
	# looks at what it got.
	loris >"$RUN/loris" 3>&- 4>&- &
	echo $! >"$RUN/loris.pid"
}

teardown_file() { reap; }

# Servers that a test started end with it.
teardown() {
	local id
	for id in g; do
		[ -e "$RUN/$id.pid" ] || continue
		kill -KILL "$(pid_of $id)" 2>/dev/null || true
		rm -f "$RUN/$id.pid"
	done
}

loris() {
	perl -MIO::Socket::INET -e '
		my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die;
		my $begin = time; my $got = "";
		my @send = split //, "POST /v1/completions HTTP/1.1\r\nHost: x\r\n" .
		    "Content-Length: 900\r\n\r\n" . ("{" x 900);
		$SIG{PIPE} = "IGNORE";
		while (time - $begin < 60) {
			my $in = ""; vec($in, fileno $s, 1) = 1;
			if (select($in, undef, undef, 1)) {
				last unless sysread $s, $got, 4096, length $got;
			} else { syswrite $s, shift @send if @send; }
		}
		printf "%d %s\n", time - $begin, $got =~ /^HTTP\/1.1 (\d+)/ ? $1 : "-";
	' "${URL#http://}"
}

# post PATH BODY [curl options]: the status is in $code, the reply in $RUN/body.
post() {
	local path=$1 body=$2
	shift 2
	code=$(printf '%s' "$body" | curl -s -m 60 -o "$RUN/body" -w '%{http_code}' \
	    --data-binary @- "$@" "$URL$path")
}

ok() { # PATH BODY: 200, and the reply on stdout
	post "$@"
	[ "$code" = 200 ] || { echo "status $code for $2:" >&2; cat "$RUN/body" >&2; return 1; }
	cat "$RUN/body"
}

# bad STATUS PARAM PATH BODY [curl options]
bad() {
	local want=$1 param=$2
	shift 2
	post "$@"
	[ "$code" = "$want" ] && jq -e --arg p "$param" '.error |
	    (.message | type == "string" and length > 4) and (.type | type == "string")
	    and has("code") and (.param // "-") == $p' "$RUN/body" >/dev/null && return 0
	echo "status $code, want $want $param for: ${2:0:200}" >&2
	head -c 500 "$RUN/body" >&2
	return 1
}

metric() { # NAME: its value, whatever its labels
	curl -sf "$URL/metrics" | awk -v n="$1" '$1 ~ "^" n "({|$)" { s += $2 } END { print s + 0 }'
}
metric_is() { [ "$(metric "$1")" = "$2" ]; }

# The events of a stream as one JSON array; fails without [DONE].
events() { # PATH BODY
	post "$1" "$2" -N || return 1
	[ "$code" = 200 ] && [ "$(tail -n 2 "$RUN/body" | head -n 1)" = 'data: [DONE]' ] ||
		{ cat "$RUN/body" >&2; return 1; }
	sed -n 's/^data: \({.*\)/\1/p' "$RUN/body" | jq -s .
}

# All pieces of choice I of a stream, put together.
joined() { jq -c --argjson i "${1:-0}" '[.[].choices[] | select(.index == $i)] | {
	text: map(.text // .delta.content // "") | add,
	token_ids: map(.token_ids // []) | add,
	lp: map(.logprobs | if . == null then [] else .token_logprobs // map(.) end) | add,
	finish_reason: .[-1].finish_reason}'; }

@test "/health, /v1/models" {
	curl -sf "$URL/health" | jq -e '. == {status: "ok"}'
	curl -sf "$URL/v1/models" | jq -e '.object == "list" and .data[0].id == "tales"
	    and .data[0].object == "model"'
	start_front_g --alias story
	curl -sf "$G/v1/models" | jq -e '.data[0].id == "story"'
	URL=$G ok /v1/completions "{$ONCE,\"model\":\"story\",\"max_tokens\":1}" | jq -e '.model == "story"'
}

# A server of this test's own; sets G.
start_front_g() {
	local url=$URL
	start_front g -m $MODEL --local "$@"
	G=$URL URL=$url
}

@test "completions: OpenAI's shape, usage" {
	ok /v1/completions "{$ONCE,\"max_tokens\":7,\"ignore_eos\":true}" | jq -e '
	    (.id | startswith("cmpl-")) and .object == "text_completion" and
	    (.created | type == "number") and .model == "tales" and
	    (.choices | length == 1) and (.choices[0] | .index == 0 and
	    .finish_reason == "length" and .logprobs == null and (.text | length > 0)
	    and (has("token_ids") | not)) and
	    .usage.prompt_tokens == 5 and .usage.completion_tokens == 7 and
	    .usage.total_tokens == 12'
	[ "$(curl -s -o /dev/null -w '%{content_type}' "$URL/v1/completions" -d "{$ONCE,\"max_tokens\":1}")" = application/json ]
}

@test "a prompt may be text, ids, or an array of either; n of each" {
	local a b ids
	ids=$(ok /tokenize '{"prompt":"Once upon a time","add_special":true}' | jq -c .tokens)
	a=$(ok /v1/completions "{$ONCE,\"max_tokens\":9,\"seed\":5}" | jq .choices[0].text)
	b=$(ok /v1/completions "{\"prompt\":$ids,\"max_tokens\":9,\"seed\":5}" | jq .choices[0].text)
	[ "$a" = "$b" ]
	ok /v1/completions "{\"prompt\":[\"Once upon a time\",\"The king\"],\"max_tokens\":9,\"seed\":5,\"n\":3}" >"$RUN/many"
	jq -e --argjson a "$a" '(.choices | length == 6) and ([.choices[].index] == [0,1,2,3,4,5])
	    and .choices[0].text == $a and ([.choices[0:3][].text] | unique | length == 3)
	    and .usage.completion_tokens <= 54' "$RUN/many"
	b=$(ok /v1/completions "{\"prompt\":[$ids,[1,2,3]],\"max_tokens\":9,\"seed\":5}" | jq .choices[0].text)
	[ "$a" = "$b" ]
}

@test "the same seed draws the same, another one does not; greedy needs none" {
	local body="{$ONCE,\"max_tokens\":24,\"temperature\":1.1" a b
	a=$(ok /v1/completions "$body,\"seed\":7}" | jq .choices[0].text)
	b=$(ok /v1/completions "$body,\"seed\":7}" | jq .choices[0].text)
	[ "$a" = "$b" ]
	b=$(ok /v1/completions "$body,\"seed\":8}" | jq .choices[0].text)
	[ "$a" != "$b" ]
	a=$(ok /v1/completions "$body}" | jq .choices[0].text)
	b=$(ok /v1/completions "$body}" | jq .choices[0].text)
	[ "$a" != "$b" ]
	a=$(ok /v1/completions "{$ONCE,\"max_tokens\":24,\"temperature\":0,\"seed\":1}" | jq .choices[0].text)
	b=$(ok /v1/completions "{$ONCE,\"max_tokens\":24,\"temperature\":0}" | jq .choices[0].text)
	[ "$a" = "$b" ]
	# top_k 1 is greedy, too.
	b=$(ok /v1/completions "{$ONCE,\"max_tokens\":24,\"top_k\":1,\"temperature\":5}" | jq .choices[0].text)
	[ "$a" = "$b" ]
}

@test "a stream is the same answer in pieces" {
	local seed body whole prompt
	for seed in 1 2 3 4; do
		prompt=$(jq -r ".[$seed - 1]" <<<'["Once upon a time","Grüße, 你好 ","The 🐉 said","1 2"]')
		body=$(jq -nc --arg p "$prompt" --argjson s $seed '{prompt: $p, seed: $s,
		    temperature: 1.3, max_tokens: 40, return_token_ids: true, logprobs: 1}')
		whole=$(ok /v1/completions "$body" | jq -c '.choices[0] | {text, token_ids,
		    lp: .logprobs.token_logprobs, finish_reason}')
		events /v1/completions "${body%\}},\"stream\":true}" | joined >"$RUN/joined"
		diff <(echo "$whole") "$RUN/joined"
	done
}

@test "stream_options.include_usage: one more chunk, with the counts" {
	events /v1/completions "{$ONCE,\"max_tokens\":5,\"ignore_eos\":true,\"stream\":true,
	    \"stream_options\":{\"include_usage\":true},\"return_token_ids\":true}" >"$RUN/ev"
	jq -e '.[-1] | .choices == [] and .usage.completion_tokens == 5 and .usage.prompt_tokens == 5' "$RUN/ev"
	jq -e '.[0].choices[0].prompt_token_ids | length == 5' "$RUN/ev"
	jq -e '[.[].id] | unique | length == 1' "$RUN/ev"
	jq -e '[.[].choices[].finish_reason | select(. != null)] == ["length"]' "$RUN/ev"
}

@test "several choices in one stream are told apart by index" {
	local i
	events /v1/completions "{$ONCE,\"max_tokens\":12,\"seed\":5,\"n\":3,\"stream\":true,\"return_token_ids\":true}" >"$RUN/ev"
	ok /v1/completions "{$ONCE,\"max_tokens\":12,\"seed\":5,\"n\":3,\"return_token_ids\":true}" >"$RUN/whole"
	for i in 0 1 2; do
		diff <(joined $i <"$RUN/ev" | jq -c '{text, token_ids}') \
		    <(jq -c ".choices[$i] | {text, token_ids}" "$RUN/whole")
	done
}

@test "echo and logprobs: a prompt is scored as it was generated, bit for bit" {
	local ids
	ok /v1/completions "{$ONCE,\"max_tokens\":12,\"ignore_eos\":true,\"temperature\":0,\"logprobs\":2,\"return_token_ids\":true}" >"$RUN/made"
	ids=$(jq -c '.choices[0] | .prompt_token_ids + .token_ids' "$RUN/made")
	ok /v1/completions "{\"prompt\":$ids,\"max_tokens\":0,\"echo\":true,\"logprobs\":2}" >"$RUN/scored"
	jq -e '.usage.completion_tokens == 0 and .usage.prompt_tokens == 17' "$RUN/scored"
	jq -e '.choices[0].logprobs | (.tokens | length == 17) and (.token_logprobs | length == 17)
	    and .token_logprobs[0] == null and .top_logprobs[0] == null and
	    (.top_logprobs[1:] | map(length >= 2) | all) and .text_offset[0] == 0' "$RUN/scored"
	diff <(jq -c '.choices[0].logprobs | [.tokens, .token_logprobs, .top_logprobs]' "$RUN/made") \
	    <(jq -c '.choices[0].logprobs | [.tokens[5:], .token_logprobs[5:], .top_logprobs[5:]]' "$RUN/scored")
	# Echo with an answer: the prompt's text comes first.
	ok /v1/completions "{$ONCE,\"max_tokens\":3,\"ignore_eos\":true,\"echo\":true,\"logprobs\":1}" |
	    jq -e '.choices[0] | (.text | startswith("Once upon a time")) and (.logprobs.tokens | length == 8)
	    and (.logprobs.tokens | add) == .text'
	# A greedy token is the best one of its place.
	jq -e '.choices[0].logprobs | [.token_logprobs, .top_logprobs] | transpose |
	    map(.[0] == ([.[1][]] | max)) | all' "$RUN/made"
}

@test "stop strings end the text before them, also across tokens" {
	local body text stop cut piece
	body="{$ONCE,\"max_tokens\":40,\"ignore_eos\":true,\"temperature\":0"
	ok /v1/completions "$body,\"logprobs\":0}" >"$RUN/full"
	text=$(jq -r '.choices[0].text' "$RUN/full")
	# The end of one token and the beginning of the next, for some places.
	for piece in 3 9 17 26; do
		stop=$(jq -r ".choices[0].logprobs.tokens | .[$piece][-1:] + .[$((piece + 1))][0:2]" "$RUN/full")
		[ ${#stop} -ge 2 ]
		cut=${text%%"$stop"*}
		[ "$cut" != "$text" ]
		ok /v1/completions "$(jq -c --arg s "$stop" '. + {stop: $s}' <<<"$body}")" |
		    jq -e --arg t "$cut" --arg s "$stop" '.choices[0] | .text == $t
		    and .finish_reason == "stop" and .stop_reason == $s'
		events /v1/completions "$(jq -c --arg s "$stop" '. + {stop: ["no such", $s], stream: true}' <<<"$body}")" |
		    joined | jq -e --arg t "$cut" '.text == $t and .finish_reason == "stop"'
	done
	ok /v1/completions "$(jq -c --arg s "$stop" '. + {stop: $s, include_stop_str_in_output: true}' <<<"$body}")" |
	    jq -e --arg t "$cut$stop" '.choices[0].text == $t'
	# One that never comes loses nothing.
	ok /v1/completions "$body,\"stop\":[\"<never>\"]}" | jq -e --arg t "$text" '.choices[0].text == $t'
}

@test "stop_token_ids, min_tokens, ignore_eos, max_tokens" {
	local id
	id=$(ok /v1/completions "{$ONCE,\"max_tokens\":3,\"temperature\":0,\"return_token_ids\":true}" | jq '.choices[0].token_ids[2]')
	ok /v1/completions "{$ONCE,\"max_tokens\":30,\"temperature\":0,\"stop_token_ids\":[$id],\"return_token_ids\":true}" |
	    jq -e --argjson id "$id" '.choices[0] | .finish_reason == "stop" and .stop_reason == $id and (.token_ids | length <= 3)'
	ok /v1/completions "{$ONCE,\"max_tokens\":9,\"min_tokens\":9,\"temperature\":0,\"stop_token_ids\":[$id]}" |
	    jq -e '.usage.completion_tokens == 9'
	# An end-of-text token of the model ends the text, unless ignored.
	ok /v1/completions '{"prompt":[4093],"max_tokens":900,"seed":1}' >"$RUN/end"
	jq -e '.choices[0].finish_reason == "stop" or .usage.completion_tokens == 900' "$RUN/end"
	ok /v1/completions "{$ONCE,\"max_tokens\":60,\"ignore_eos\":true}" | jq -e '.usage.completion_tokens == 60'
}

@test "the context can be filled to its last token, and not further" {
	local ids
	ids=$(jq -nc '[range(1020)] | map(. % 200 + 100)')
	ok /v1/completions "{\"prompt\":$ids,\"max_tokens\":4,\"ignore_eos\":true}" | jq -e '.usage.total_tokens == 1024'
	ok /v1/completions "{\"prompt\":$ids,\"ignore_eos\":true,\"max_tokens\":null}" | jq -e '.usage.total_tokens <= 1036'
	bad 400 max_tokens /v1/completions "{\"prompt\":$ids,\"max_tokens\":5}"
	bad 400 prompt /v1/completions "{\"prompt\":$(jq -nc '[range(1025)] | map(. % 200 + 100)'),\"max_tokens\":1}"
	bad 400 messages /v1/chat/completions "$(jq -nc '{messages: [{role: "user", content: ("word " * 3000)}]}')"
}

@test "chat: OpenAI's shape, streamed and not, with logprobs" {
	local body='{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Who was there?"}],"max_tokens":12,"seed":4,"temperature":0.9' whole
	ok /v1/chat/completions "$body,\"logprobs\":true,\"top_logprobs\":3}" >"$RUN/chat"
	jq -e '(.id | startswith("chatcmpl-")) and .object == "chat.completion" and
	    .choices[0].message.role == "assistant" and
	    (.choices[0].message.content | type == "string") and
	    (.choices[0].logprobs.content | length == 12) and
	    (.choices[0].logprobs.content[0] | (.token | type == "string") and (.bytes | type == "array")
	    and (.top_logprobs | length >= 3)) and .usage.completion_tokens <= 12' "$RUN/chat"
	whole=$(jq .choices[0].message.content "$RUN/chat")
	events /v1/chat/completions "$body,\"stream\":true}" >"$RUN/ev"
	jq -e '.[0].object == "chat.completion.chunk" and .[0].choices[0].delta.role == "assistant"' "$RUN/ev"
	[ "$(joined <"$RUN/ev" | jq .text)" = "$whole" ]
	[ "$(ok /v1/chat/completions "${body/max_tokens/max_completion_tokens}}" | jq .choices[0].message.content)" = "$whole" ]
	# Content in parts is the same text.
	body=${body/\"Who was there?\"/[{\"type\":\"text\",\"text\":\"Who was there?\"\}]}
	[ "$(ok /v1/chat/completions "$body}" | jq .choices[0].message.content)" = "$whole" ]
}

@test "user text never becomes a control token" {
	ok /tokenize '{"prompt":"<|im_end|><|endoftext|>"}' | jq -e '.tokens | map(. < 4093) | all'
	ok /v1/completions '{"prompt":"<|endoftext|>","max_tokens":1,"return_token_ids":true}' |
	    jq -e '.choices[0].prompt_token_ids | map(. < 4093) | all'
}

# The ids of a ChatML prompt are those of its parts: 510 begins a turn and 511
# ends it, and only the template may say so.
@test "chat: many turns are rendered whole, and users add no control token" {
	local text='a text of more bytes than stand before it <|im_end|><|im_start|>'
	local front=$URL
	ok /v1/chat/completions '{"messages":[{"role":"user","content":"Who was there?"},
	    {"role":"assistant","content":"A fox."},{"role":"user","content":"And?"}],
	    "max_tokens":1,"return_token_ids":true}' >"$RUN/chat"
	ok /tokenize '{"prompt":"Who was there?\n\nA fox.\n\nAnd?\n\n"}' |
	    jq -e --slurpfile c "$RUN/chat" '.tokens == $c[0].choices[0].prompt_token_ids'

	start_front g -m $GOLDEN/olmoe --local
	ok /v1/chat/completions "$(jq -nc --arg t "$text" '{max_tokens: 1, return_token_ids: true,
	    messages: [{role: "user", content: $t}, {role: "assistant", content: "b"},
	    {role: "user", content: $t}]}')" |
	    jq -e '.choices[0].prompt_token_ids | map(select(. >= 509)) ==
	    [510, 511, 510, 511, 510, 511, 510]'
	stop g
	URL=$front
}

@test "tokenize and detokenize are inverse" {
	local text ids
	for text in "Once upon a time" "Grüße,  你好 🐉!" $'two\nlines\t' "  1234567890"; do
		ids=$(ok /tokenize "$(jq -nc --arg t "$text" '{content: $t, add_special: false}')" | jq -c .tokens)
		ok /detokenize "{\"tokens\":$ids}" | jq -e --arg t "$text" '.content == $t'
	done
}

@test "bad values: 400 and the field's name" {
	local param fields n=0
	while IFS='|' read -r param fields; do
		bad 400 "$param" /v1/completions "{$ONCE,$fields}"
		n=$((n + 1))
	done <<'ROWS'
max_tokens|"max_tokens":-1
max_tokens|"max_tokens":"5"
max_tokens|"max_tokens":1.5
max_tokens|"max_tokens":0
max_tokens|"max_tokens":1e30
min_tokens|"min_tokens":-1
min_tokens|"max_tokens":3,"min_tokens":4
temperature|"temperature":-0.1
temperature|"temperature":"hot"
temperature|"temperature":[]
top_p|"top_p":0
top_p|"top_p":1.01
top_k|"top_k":-5
top_k|"top_k":"all"
min_p|"min_p":2
min_p|"min_p":-0.5
n|"n":0
n|"n":1000000
n|"n":true
seed|"seed":"lucky"
stop|"stop":5
stop|"stop":[1]
stop|"stop":{"a":1}
stop_token_ids|"stop_token_ids":"5"
stop_token_ids|"stop_token_ids":["5"]
stop_token_ids|"stop_token_ids":[-1]
stream|"stream":"yes"
stream_options|"stream_options":{"include_usage":true}
stream_options|"stream":true,"stream_options":5
logprobs|"logprobs":-1
logprobs|"logprobs":100000
logprobs|"logprobs":true
echo|"echo":1
ignore_eos|"ignore_eos":"no"
return_token_ids|"return_token_ids":0
model|"model":5
suffix|"suffix":"the end"
best_of|"best_of":4
ROWS
	[ $n -eq 38 ]
}

@test "bad prompts and messages: 400 and the field's name" {
	local param path body
	while IFS='|' read -r param path body; do
		bad 400 "$param" "$path" "$body"
	done <<'ROWS'
prompt|/v1/completions|{}
prompt|/v1/completions|{"prompt":null}
prompt|/v1/completions|{"prompt":5}
prompt|/v1/completions|{"prompt":{}}
prompt|/v1/completions|{"prompt":[]}
prompt|/v1/completions|{"prompt":[1,"a"]}
prompt|/v1/completions|{"prompt":["a",1]}
prompt|/v1/completions|{"prompt":[[1],["a"]]}
prompt|/v1/completions|{"prompt":[1.5]}
prompt|/v1/completions|{"prompt":[-1]}
prompt|/v1/completions|{"prompt":[4096]}
prompt|/v1/completions|{"prompt":[99999999999]}
prompt|/v1/completions|{"prompt":99999999999999999999}
max_tokens|/v1/completions|{"prompt":"a","max_tokens":99999999999999999999}
seed|/v1/completions|{"prompt":"a","seed":18446744073709551616}
messages|/v1/chat/completions|{}
messages|/v1/chat/completions|{"messages":"hi"}
messages|/v1/chat/completions|{"messages":[]}
messages|/v1/chat/completions|{"messages":["hi"]}
messages|/v1/chat/completions|{"messages":[{"content":"hi"}]}
messages|/v1/chat/completions|{"messages":[{"role":5,"content":"hi"}]}
messages|/v1/chat/completions|{"messages":[{"role":"user","content":5}]}
messages|/v1/chat/completions|{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}
top_logprobs|/v1/chat/completions|{"messages":[{"role":"user","content":"hi"}],"top_logprobs":2}
logprobs|/v1/chat/completions|{"messages":[{"role":"user","content":"hi"}],"logprobs":3}
tokens|/detokenize|{}
tokens|/detokenize|{"tokens":"a"}
tokens|/detokenize|{"tokens":[1,"a"]}
tokens|/detokenize|{"tokens":[4096]}
tokens|/detokenize|{"tokens":[-1]}
content|/tokenize|{"content":5}
ROWS
	bad 404 model /v1/completions "{$ONCE,\"model\":\"gpt-9\"}"
	bad 404 model /v1/chat/completions '{"model":"gpt-9","messages":[{"role":"user","content":"hi"}]}'
}

@test "bad JSON, bad UTF-8, bad paths and methods" {
	local body
	for body in '' '{' '{"prompt":"a"' '{"prompt":"a",}' '[]' '5' 'null' '{"prompt":"a"} x' \
	    '{"prompt":"a","prompt":"b"}' '{"prompt":"a\u0000b"}' '{"prompt":"\ud800"}' $'{"prompt":"a\xff"}' $'{"prompt":"\xc0\xaf"}' \
	    "$(printf '[%.0s' $(seq 5000))"; do
		bad 400 - /v1/completions "$body"
		bad 400 - /v1/chat/completions "$body"
		bad 400 - /tokenize "$body"
	done
	bad 404 - /v1/nothing '{}'
	bad 404 - /v1/completions/ '{}'
	bad 405 - /health '{}'
	code=$(curl -s -o "$RUN/body" -w '%{http_code}' "$URL/v1/completions")
	[ "$code" = 405 ]
	jq -e .error.message "$RUN/body"
}

@test "a body of 100 MB: 413, told to wait for 100-continue or not; memory stays" {
	local before after how
	before=$(awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of f)/status")
	for how in 'Expect: 100-continue' 'Expect:' 'Transfer-Encoding: chunked'; do
		code=$(head -c 100000000 /dev/zero | curl -s -m 30 -o "$RUN/body" -w '%{http_code}' \
		    -H "$how" -H 'Content-Type: application/json' --data-binary @- "$URL/v1/completions" || true)
		[ "$code" = 413 ] || { echo "$how: $code"; return 1; }
		jq -e '.error.message and .error.type' "$RUN/body"
	done
	after=$(awk '/^VmRSS/ { print $2 }' "/proc/$(pid_of f)/status")
	[ $((after - before)) -lt 30000 ] || [ "${BUILD:-release}" != release ]
	curl -sf "$URL/health"
}

@test "broken HTTP gets a 4xx or a closed connection, and others nothing" {
	local line
	while read -r line; do
		timeout 20 perl -MIO::Socket::INET -e '
			my $s = IO::Socket::INET->new(PeerAddr => $ARGV[0]) or die;
			$SIG{PIPE} = "IGNORE";
			syswrite $s, eval "\"$ARGV[1]\""; shutdown $s, 1;
			local $/; my $r = <$s> // ""; $r =~ /^(HTTP\/1\.[01] (4|505)|$)/ or die $r;
		' "${URL#http://}" "$line" || { echo "$line"; return 1; }
	done <<'ROWS'
\x00\xff\x00\xff\r\n\r\n
GET\r\n\r\n
GET / HTTP/9.9\r\n\r\n
POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n
POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n
POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345
POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n
POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{
GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n
ROWS
	code=$(curl -s -o /dev/null -w '%{http_code}' -H "X-Long: $(printf 'a%.0s' $(seq 60000))" "$URL/health")
	[ "$code" = 431 ]
	curl -sf "$URL/health"
}

hang_up() { # BODY: begin it, hang up when it runs, and see it cancelled
	local before
	before=$(metric moe_requests_aborted_total)
	curl -sN "$URL/v1/completions" -d "$1" >"$RUN/cut" &
	retry 20 metric_is vllm:num_requests_running 1
	kill -9 $!
	wait $! || true
	retry 5 metric_is moe_requests_aborted_total $((before + 1))
	retry 5 metric_is vllm:num_requests_running 0
	metric_is moe_kv_pages_used 0 || metric_is moe_kv_pages_used "$(metric moe_kv_pages_cached)"
}

@test "a client that hangs up cancels its request, streamed or not" {
	local long="{\"prompt\":[1,2,3],\"max_tokens\":1000,\"ignore_eos\":true,\"n\":8"
	retry 5 metric_is vllm:num_requests_running 0
	long=${long/\"n\":8/\"n\":1}
	hang_up "$long,\"stream\":true}"
	hang_up "$long}"
	[ "$(metric vllm:request_success_total)" -gt 0 ]
}

@test "metrics: vLLM's names and ours, each with HELP and TYPE" {
	local name
	curl -sf "$URL/metrics" >"$RUN/m"
	for name in vllm:num_requests_running vllm:num_requests_waiting \
	    vllm:kv_cache_usage_perc vllm:prompt_tokens_total vllm:generation_tokens_total \
	    vllm:prefix_cache_queries_total vllm:prefix_cache_hits_total \
	    vllm:num_preemptions_total vllm:request_success_total \
	    vllm:time_to_first_token_seconds vllm:time_per_output_token_seconds \
	    vllm:e2e_request_latency_seconds moe_servers_up moe_replays_total \
	    moe_deadline_missed_total moe_steps_total moe_rows_total; do
		grep -q "^# TYPE $name " "$RUN/m"
		grep -q "^# HELP $name " "$RUN/m"
		grep -qE "^$name(_count|_bucket)?[{ ]" "$RUN/m"
	done
	[ "$(grep -vcE '^(# (HELP|TYPE) [a-z0-9_:]+ .+|[a-z0-9_:]+(\{([a-z_]+="[^"]*",?)*\})? [-+0-9.eInf]+)$' "$RUN/m")" = 0 ]
	[ "$(curl -s -o /dev/null -w '%{content_type}' "$URL/metrics" | cut -c1-10)" = text/plain ]
	local before
	before=$(metric vllm:generation_tokens_total)
	ok /v1/completions "{$ONCE,\"max_tokens\":11,\"ignore_eos\":true}" >/dev/null
	[ "$(metric vllm:generation_tokens_total)" = $((before + 11)) ]
}

@test "metrics: tokens of prompts, found in the prefix cache or not, and how answers ended" {
	local ids prompt hit query stop abort
	ids=$(jq -nc '[range(100) + 300]')
	prompt=$(metric vllm:prompt_tokens_total) query=$(metric vllm:prefix_cache_queries_total)
	hit=$(metric vllm:prefix_cache_hits_total)
	for _ in 1 2 3; do
		ok /v1/completions "{\"prompt\":$ids,\"max_tokens\":1,\"temperature\":0}" >/dev/null
	done
	[ "$(metric vllm:prompt_tokens_total)" = $((prompt + 300)) ]
	[ "$(metric vllm:prefix_cache_queries_total)" = $((query + 300)) ]
	[ "$(metric vllm:prefix_cache_hits_total)" = $((hit + 2 * 96)) ]
	ended() {
		curl -sf "$URL/metrics" | sed -n "s/^vllm:request_success_total.*finished_reason=\"$1\"} //p"
	}
	stop=$(ended stop) abort=$(ended abort)
	ok /v1/completions "{$ONCE,\"max_tokens\":900,\"ignore_eos\":true,\"temperature\":0,\"stop\":[\"e\"]}" |
		jq -e '.choices[0].finish_reason == "stop"'
	# The answer is there before the engine has ended its sequence.
	ended_is() { [ "$(ended "$1")" = "$2" ]; }
	retry 5 ended_is stop $((stop + 1))
	[ "$(ended abort)" = "$abort" ]
}

@test "options that cannot be kept are refused before the port is open" {
	fails 64 "$BIN/moe-attnd" -m $MODEL --local -p 127.0.0.1:0 --kv-memory 900T
	grep -q -- '--kv-memory: .* more than this machine' "$RUN/err"
	fails 64 "$BIN/moe-attnd" -m $MODEL --local -p 127.0.0.1:0 --kv-memory 1k
	fails 64 "$BIN/moe-attnd" -m $MODEL --local -p 127.0.0.1:0 --chat-template tool_use
	grep -q -- '--chat-template tool_use: .* no template' "$RUN/err"
	# A dry run finds what a start would.
	fails 64 "$BIN/moe-attnd" -n -m $MODEL --local --kv-memory 1k
	fails 64 "$BIN/moe-attnd" -n -m $MODEL --local --ready-fd 77
	fails 65 "$BIN/moe-attnd" -n -m $MODEL --local --api-key-file "$RUN/none"
}

@test "a token that the tokenizer knows and the model does not" {
	local front=$URL
	cp -r $GOLDEN/olmoe "$RUN/far"
	chmod -R u+w "$RUN/far"
	jq '.added_tokens += [{id: 600, content: "farfar", special: false, single_word: false,
	    lstrip: false, rstrip: false, normalized: false}]' \
	    $GOLDEN/olmoe/tokenizer.json >"$RUN/far/tokenizer.json"
	start_front g -m "$RUN/far" --local
	bad 400 prompt /v1/completions '{"prompt":"a farfar","max_tokens":1}'
	bad 400 messages /v1/chat/completions '{"messages":[{"role":"user","content":"farfar"}],"max_tokens":1}'
	ok /v1/completions '{"prompt":"a far","max_tokens":1}'
	stop g
	URL=$front
}

@test "keys: 401 without one of them; a public address needs them" {
	printf '# keys\nfirst-key\nother-key\n' >"$RUN/keys"
	chmod 600 "$RUN/keys"
	start_front_g_keys
	URL=$G
	bad 401 - /v1/completions "{$ONCE,\"max_tokens\":1}"
	bad 401 - /v1/completions "{$ONCE,\"max_tokens\":1}" -H 'Authorization: Bearer first-ke'
	post /v1/completions "{$ONCE,\"max_tokens\":1}" -H 'Authorization: Bearer other-key'
	[ "$code" = 200 ]
	fails 64 "$BIN/moe-attnd" -m $MODEL --local -p 0.0.0.0:0
}

start_front_g_keys() {
	spawn g "$BIN/moe-attnd" -p 127.0.0.1:0 -i g -m $MODEL --local --api-key-file "$RUN/keys"
	G=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/g.log" | tail -n 1)
}

@test "too many requests: 429 and Retry-After, those inside are answered" {
	start_front_g --max-seqs 1 --max-queue 2
	URL=$G
	local i pids=
	for i in 1 2; do
		curl -s "$G/v1/completions" -d "{\"prompt\":[1,2],\"max_tokens\":200,\"ignore_eos\":true}" >"$RUN/in.$i" &
		pids="$pids $!"
	done
	retry 10 full
	bad 429 - /v1/completions "{$ONCE,\"max_tokens\":1}"
	wait $pids
	jq -e '.usage.completion_tokens == 200' "$RUN/in.1"
	jq -e '.usage.completion_tokens == 200' "$RUN/in.2"
}
full() { [ $(($(metric vllm:num_requests_running) + $(metric vllm:num_requests_waiting))) = 2 ]; }

@test "TERM drains: what runs is answered, what is new is refused, exit 0" {
	start_front_g
	URL=$G
	curl -s "$G/v1/completions" -d "{\"prompt\":[1,2],\"max_tokens\":400,\"ignore_eos\":true}" >"$RUN/last" &
	local last=$!
	retry 10 metric_is vllm:num_requests_running 1
	kill -TERM "$(pid_of g)"
	retry 5 refused
	jq -e .error.message "$RUN/body"
	wait $last
	jq -e '.usage.completion_tokens == 400' "$RUN/last"
	wait "$(pid_of g)"
	rm "$RUN/g.pid"
}

@test "a second TERM: what runs is told that it cannot go on, exit 75" {
	local rc=0
	start_front_g
	curl -sN "$G/v1/completions" -d "{$ONCE,\"max_tokens\":1000,\"ignore_eos\":true,\"stream\":true}" >"$RUN/cut.s" &
	local stream=$!
	curl -s -w '\n%{http_code}\n' "$G/v1/completions" -d "{$ONCE,\"max_tokens\":1000,\"ignore_eos\":true}" >"$RUN/cut.n" &
	local whole=$!
	URL=$G retry 10 metric_is vllm:num_requests_running 2
	kill -TERM "$(pid_of g)"
	URL=$G retry 5 refused
	kill -TERM "$(pid_of g)"
	wait $stream
	wait $whole
	sed -n 's/^data: //p' "$RUN/cut.s" | tail -n 1 | jq -e '.error.code == 503'
	[ "$(tail -n 1 "$RUN/cut.n")" = 503 ]
	head -n 1 "$RUN/cut.n" | jq -e '.error.type == "ServiceUnavailableError"'
	wait "$(pid_of g)" || rc=$?
	[ "$rc" = 75 ]
	rm "$RUN/g.pid"
}
refused() { post /v1/completions "{$ONCE,\"max_tokens\":1}"; [ "$code" = 503 ]; }

@test "a request that takes its time to come is cut off after 30 s" {
	local waited status
	while kill -0 "$(pid_of loris)" 2>/dev/null; do sleep 0.1; done
	read -r waited status <"$RUN/loris"
	[ "$waited" -ge 28 ] && [ "$waited" -le 35 ]
	[ "$status" = 408 ] || [ "$status" = - ]
}
