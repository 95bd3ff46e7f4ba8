#!/usr/bin/env bats
# Keys between peers, TLS, keys of HTTP clients, and what daemons give up.

load ../lib/moe

MODEL=models/tales

setup() {
	run_dir
	"$BIN/moe-bench" -V | grep -q ' +tls' || lack tls "this build has no OpenSSL"
	"$BIN/moe-route" key --psk -o "$RUN/key"
	"$BIN/moe-route" key --psk -o "$RUN/other"
	unset MOE_PSK_FILE
}
teardown() { reap; }

hash_of() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

# A router alone, at ADDR; sets AT to where it listens.
router() { # ADDR [options]
	local addr=$1
	shift
	printf 'moe-cluster 1\n' >"$RUN/route.conf"
	spawn r "$BIN/moe-route" serve -f "$RUN/route.conf" -i r -l "$addr" "$@"
	AT=$(sed -nE 's/.*((shm|tcp):[^ ]+): no model line.*/\1/p;s/.* ((shm|tcp):[^ ]+): (map|no).*/\1/p' "$RUN/r.log" | tail -n 1)
	[ -n "$AT" ] || AT=$addr
}

status() { "$BIN/moe-route" status -r "$AT" -t 20s "$@"; }

refused() { # PATTERN [options]
	local pattern=$1
	shift
	fails 75 status "$@"
	grep -qE "$pattern" "$RUN/err" || { cat "$RUN/err"; return 1; }
}

keys_between_peers() { # ADDR
	router "$1" --psk-file "$RUN/key"
	status --psk-file "$RUN/key" | grep -q '^route.*r'
	MOE_PSK_FILE=$RUN/key status | grep -q '^route.*r'
	status --psk-file fd:7 7<"$RUN/key" | grep -q '^route.*r'
	refused "'r' wants a proof of the cluster's key, 'tool-[0-9]*' gives none"
	refused "'tool-[0-9]*' has another key than 'r'" --psk-file "$RUN/other"
	stop r
	# The other way round: a server without the key learns nothing.
	router "$1"
	refused "'r' has another key than 'tool-[0-9]*', or none" --psk-file "$RUN/key"
	stop r
}

@test "shm: a peer without the key, or with another, is refused both ways" {
	keys_between_peers "shm:$RUN/r.sock"
}
@test "tcp: a peer without the key, or with another, is refused both ways" {
	keys_between_peers tcp:127.0.0.1:"$("$TOOL/freeport" 1)"
}

@test "TLS: another key, none, and links in the clear are refused with a reason" {
	router tcp:127.0.0.1:"$("$TOOL/freeport" 1)" --psk-file "$RUN/key" --tls yes
	status --psk-file "$RUN/key" --tls yes | grep -q '^route.*r'
	refused "no TLS with the peer: another key" --psk-file "$RUN/other" --tls yes
	refused "takes no links in the clear" --psk-file "$RUN/key"
	refused "takes no links in the clear"
	fails 64 status --tls yes
	grep -q 'needs a key: --psk-file' "$RUN/err"
	stop r
}

@test "beyond loopback: a key, or --insecure, which says what it does" {
	local far
	printf 'moe-cluster 1\n' >"$RUN/route.conf"
	fails 64 "$BIN/moe-route" serve -f "$RUN/route.conf" -i r -l tcp:0.0.0.0:0
	grep -q "beyond this machine: give the cluster's key with --psk-file, or --insecure" "$RUN/err"
	fails 64 "$BIN/moe-route" status -r tcp:192.0.2.1:9
	grep -q 'beyond this machine' "$RUN/err"
	fails 64 "$BIN/moe-expertd" -m $MODEL -i e1 -l tcp:0.0.0.0:0
	router tcp:0.0.0.0:"$("$TOOL/freeport" 1)" --insecure
	[ "$(grep -c 'insecure: whoever reaches tcp:0.0.0.0:[0-9]*, .* can read and change' "$RUN/r.log")" = 1 ]
	stop r
	far=$(hostname -I 2>/dev/null | tr ' ' '\n' | grep -m1 '^[0-9]*\.') || return 0
	[ -n "$far" ] || return 0
	# auto: TLS to an address that is not loopback, and nothing else from there.
	router tcp:0.0.0.0:"$("$TOOL/freeport" 1)" --psk-file "$RUN/key"
	AT=tcp:$far:${AT##*:}
	status --psk-file "$RUN/key" | grep -q '^route.*r'
	refused "takes no links in the clear" --psk-file "$RUN/key" --tls no
	refused "takes no links in the clear" --insecure
	AT=tcp:127.0.0.1:${AT##*:}
	status --psk-file "$RUN/key" --tls no | grep -q '^route.*r'
	stop r
}

@test "key files: others must not read them, one key, psk-file of the cluster file" {
	printf 'moe-cluster 1\npsk-file %s\nroute r shm:%s/r.sock\n' "$RUN/key" "$RUN" >"$RUN/cluster.conf"
	spawn r "$BIN/moe-route" serve -f "$RUN/cluster.conf"
	"$BIN/moe-route" status -f "$RUN/cluster.conf" | grep -q '^route.*r'
	AT=shm:$RUN/r.sock
	refused "gives none"
	refused "another key" --psk-file "$RUN/other"
	chmod 644 "$RUN/key"
	fails 65 status --psk-file "$RUN/key"
	grep -q 'can be read by others: chmod 600' "$RUN/err"
	fails 65 status --psk-file "$RUN/none"
	fails 64 "$BIN/moe-route" key --psk -o "$RUN/other"
	[ "$(stat -c %a "$RUN/other")" = 600 ]
	stop r
}

# Pass connections to 127.0.0.1:PORT on to 127.0.0.1:TO, and write all that goes
# through, either way, to FILE.
recorder() { # PORT TO FILE
	perl -MIO::Socket::INET -MIO::Select -e '
		my ($port, $to, $file) = @ARGV; $SIG{PIPE} = "IGNORE";
		my $l = IO::Socket::INET->new(LocalAddr => "127.0.0.1", LocalPort => $port,
		    Listen => 16, ReuseAddr => 1) or die "$port: $!";
		open my $out, ">", $file or die; binmode $out; $out->autoflush(1);
		my $sel = IO::Select->new($l); my %other;
		for (;;) {
			for my $s ($sel->can_read) {
				if ($s == $l) {
					my $a = $l->accept or next;
					my $b = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$to");
					if (!$b) { close $a; next; }
					$other{$a} = $b; $other{$b} = $a; $sel->add($a, $b); next;
				}
				my $o = $other{$s} or next; my $buf;
				if (!sysread $s, $buf, 65536) {
					$sel->remove($s, $o); delete @other{$s, $o}; close $s; close $o; next;
				}
				print $out $buf;
				for (my $at = 0; $at < length $buf; ) {
					my $n = syswrite $o, $buf, length($buf) - $at, $at;
					last if !$n; $at += $n;
				}
			}
		}' "$@" 3>&- 4>&- &
	echo $! >"$RUN/recorder.pid"
}

# How many headers of slots and frames are in a file: six bytes each, which no
# 20 MB of noise hold by chance.
marks() { perl -0777 -ne 'print scalar(() = /MSLT[\x01\x02]\x00|MCTL\x01\x00/g)' "$1"; }

@test "TLS: tokens are the same, and nothing of a row is on the wire" {
	local port want tls
	port=$("$TOOL/freeport" 2)
	for tls in no yes; do
		# shellcheck disable=SC2086 # two numbers
		set -- $port
		printf 'moe-cluster 1\nexpert e1 tcp:127.0.0.1:%s\n' "$1" >"$RUN/cluster.conf"
		recorder "$1" "$2" "$RUN/wire.$tls"
		spawn e1 "$BIN/moe-expertd" -m $MODEL -l "tcp:127.0.0.1:$2" -i e1 \
		    --psk-file "$RUN/key" --tls $tls
		start_front f -m $MODEL -f "$RUN/cluster.conf" --psk-file "$RUN/key" --tls $tls
		want="$want $(hash_of)"
		stop f e1
		kill "$(pid_of recorder)"
		wait "$(pid_of recorder)" 2>/dev/null || true
		rm -f "$RUN/recorder.pid"
	done
	# shellcheck disable=SC2086 # two hashes
	set -- $want
	[ ${#1} -ge 8 ]
	[ "$1" = "$2" ]
	[ "$(marks "$RUN/wire.no")" -gt 100 ]
	[ "$(marks "$RUN/wire.yes")" = 0 ]
	[ "$(wc -c <"$RUN/wire.yes")" -gt "$(($(wc -c <"$RUN/wire.no") * 9 / 10))" ]
	# Rows pack a little, what is encrypted does not.
	[ "$(gzip -1 <"$RUN/wire.yes" | wc -c)" -ge "$(wc -c <"$RUN/wire.yes")" ]
}

# The status of a request for one token at URL with that key.
code_of() { # KEY
	curl -s -o "$RUN/out" -w '%{http_code}' "$URL/v1/completions" -H "Authorization: Bearer $1" \
	    -d '{"prompt":"Once","max_tokens":1}'
}
code_is() { [ "$(code_of "$1")" = "$2" ]; }

@test "HTTP keys: hashed, read again at HUP; a bad file changes nothing; the door, too" {
	local a b
	a=$("$BIN/moe-route" key -o "$RUN/keys")
	[ ${#a} = 64 ]
	[ "$(grep -c "$a" "$RUN/keys")" = 0 ]
	[ "$(stat -c %a "$RUN/keys")" = 600 ]
	chmod 644 "$RUN/keys"
	start_front f -m $MODEL --local --api-key-file "$RUN/keys"
	code_is "$a" 200
	code_is "${a%?}" 401
	code_is "$(cut -d: -f3 "$RUN/keys")" 401
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$URL/v1/models")" = 401 ]
	b=$("$BIN/moe-route" key -o "$RUN/keys")
	code_is "$b" 401
	kill -HUP "$(pid_of f)"
	retry 10 code_is "$b" 200
	code_is "$a" 200
	echo plain >>"$RUN/keys"
	kill -HUP "$(pid_of f)"
	retry 10 grep -q 'plain keys and can be read by others.*going on as before' "$RUN/f.log"
	code_is "$b" 200
	fails 65 "$BIN/moe-attnd" -m $MODEL --local -p 127.0.0.1:0 --api-key-file "$RUN/keys"
	# The door has keys of its own, and passes them on.
	grep -v plain "$RUN/keys" | tail -n 1 >"$RUN/door"
	spawn d "$BIN/moe-route" front -p 127.0.0.1:0 --to "${URL#http://}" --api-key-file "$RUN/door"
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/d.log" | tail -n 1)
	retry 20 curl -sf "$URL/health"
	code_is "$b" 200
	code_is "$a" 401
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$URL/metrics")" = 401 ]
	head -n 1 "$RUN/keys" >"$RUN/door"
	kill -HUP "$(pid_of d)"
	retry 10 code_is "$a" 200
	code_is "$b" 401
	# Standard output alone: the key, then its line.
	"$BIN/moe-route" key >"$RUN/two"
	[ "$(sed -n 1p "$RUN/two" | grep -cE '^[0-9a-f]{64}$')" = 1 ]
	[ "$(sed -n 2p "$RUN/two" | grep -cE '^sha256:[0-9a-f]{32}:[0-9a-f]{64}$')" = 1 ]
	stop d f
}

in_all_threads() { # ID FIELD VALUE
	local n
	n=$(ls "/proc/$(pid_of "$1")/task" | wc -l)
	[ "$n" -ge 1 ]
	[ "$(grep -hE "^$2:[[:space:]]*$3\$" /proc/"$(pid_of "$1")"/task/*/status | wc -l)" = "$n" ]
}

@test "sandbox: every thread of every daemon is in it, and a dead server is survived" {
	local id want
	start_experts $MODEL shm 2 2
	start_front f -m $MODEL -f "$RUN/cluster.conf"
	router "shm:$RUN/r.sock"
	spawn d "$BIN/moe-route" front -p 127.0.0.1:0 --to "${URL#http://}"
	for id in e1 e2 f r d; do
		in_all_threads $id NoNewPrivs 1
		in_all_threads $id Seccomp 2
		grep -qE '^Max core file size +0 +0 ' "/proc/$(pid_of $id)/limits"
	done
	want=$(hash_of)
	[ ${#want} -ge 8 ]
	kill -KILL "$(pid_of e1)"
	[ "$(hash_of)" = "$want" ]
	spawn e1 "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i e1 --no-sandbox
	in_all_threads e1 Seccomp 0
	retry 20 grep -q 'server e1: up' "$RUN/f.log"
	[ "$(hash_of)" = "$want" ]
	stop d r f e1 e2
}
