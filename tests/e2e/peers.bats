#!/usr/bin/env bats
# Expert server and front end on each other's bad days: other models, other
# types, garbage on the socket; and how much memory a server holds.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

# A front end that is not going to be healthy; sets URL.
front() { # [options]
	spawn f "$BIN/moe-attnd" -p 127.0.0.1:0 -i f "$@"
	URL=$(sed -n 's,.*\(http://[0-9.:]*\) serves.*,\1,p' "$RUN/f.log" | tail -n 1)
}

hash_of() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

@test "another model of the same shape is refused, both fingerprints are named" {
	local seed
	for seed in 1 2; do
		"$BIN/moe-bench" model -q --shape small -s $seed -o "$RUN/m$seed"
	done
	printf 'moe-cluster 1\nexpert e1 shm:%s/e1.sock\n' "$RUN" >"$RUN/cluster.conf"
	spawn e1 "$BIN/moe-expertd" -m "$RUN/m1" -f "$RUN/cluster.conf" -i e1
	front -m "$RUN/m2" -f "$RUN/cluster.conf"
	retry 10 grep -qE 'fingerprint.*[0-9a-f]{12,16}.*[0-9a-f]{12,16}' "$RUN/f.log"
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/health")" = 503 ]
	grep -qi fingerprint "$RUN/out" || grep -q 'expert 0 of layer 0' "$RUN/out"
	[ "$(grep -oE '[0-9a-f]{12,16}' "$RUN/f.log" | sort -u | wc -l)" -ge 2 ]
}

@test "another dtype or kernel variant is refused, both are named" {
	start_experts $MODEL shm 1 1 --dtype f32
	front -m $MODEL -f "$RUN/cluster.conf"
	retry 10 grep -qE 'bf16.*f32|f32.*bf16' "$RUN/f.log"
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/health")" = 503 ]
	stop f e1
	start_experts $MODEL shm 1 1 --isa ref
	front -m $MODEL -f "$RUN/cluster.conf" --isa avx2 || lack avx2 "no AVX2 here"
	retry 10 grep -qE 'ref.*avx2|avx2.*ref' "$RUN/f.log"
	[ "$(curl -s -o "$RUN/out" -w '%{http_code}' "$URL/health")" = 503 ]
	stop f e1
	# --mixed on both sides admits it.
	start_experts $MODEL shm 1 1 --isa ref --mixed
	front -m $MODEL -f "$RUN/cluster.conf" --isa avx2 --mixed
	retry 20 curl -sf "$URL/health"
}

# Connections to ADDR that say what no peer says: noise, a cut header, a wrong
# magic, version and length; silence.  Prints how many were closed by the server.
garbage() { # ADDR COUNT
	perl -MIO::Socket::INET -MIO::Socket::UNIX -MDigest::MD5=md5 -e '
		my ($addr, $n) = @ARGV; my $closed = 0; $SIG{PIPE} = "IGNORE";
		for my $i (1 .. $n) {
			my $s = $addr =~ /^shm:(.*)/ ? IO::Socket::UNIX->new(Peer => $1) :
			    IO::Socket::INET->new(PeerAddr => $addr =~ s/^tcp://r);
			$s or die "$addr: $!";
			my $noise = join "", map md5("$i.$_"), 1 .. 4096;
			my $head = pack "VvvVVVVV", 0x4c54434d, 1, 1, 0, 64, 0, 0, 0;
			my @say = ($noise, substr($noise, 0, 7), "MCTL" . substr($noise, 0, 28),
			    $head . pack("V", 0) . substr($noise, 0, 64),
			    pack("VvvVVVVVV", 0x4c54434d, 9, 1, 0, 0, 0, 0, 0, 0),
			    pack("VvvVVVVVV", 0x4c54434d, 1, 1, 0, 0xffffffff, 0, 0, 0, 0),
			    "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
			syswrite $s, $say[$i % @say];
			shutdown $s, 1;
			my $in = ""; vec($in, fileno $s, 1) = 1;
			# End of file and a reset are both a close; silence is not.
			while (select(my $ready = $in, undef, undef, 10)) {
				if (!sysread $s, my $b, 4096) { $closed++; last; }
			}
		}
		print "$closed\n";
	' "$@"
}

disturbed() { # TRANSPORT
	local want got addr
	start_experts $MODEL "$1" 2 1
	start_front f -m $MODEL -f "$RUN/cluster.conf"
	want=$(hash_of)
	[ ${#want} -ge 8 ]
	addr=$(awk '$2 == "e1" { print $3 }' "$RUN/cluster.conf")
	garbage "$addr" 70 >"$RUN/closed" 3>&- 4>&- &
	local noise=$! rounds=0
	while kill -0 $noise 2>/dev/null || [ $rounds -eq 0 ]; do
		got=$(hash_of)
		[ "$got" = "$want" ] || { echo "$got, want $want"; return 1; }
		rounds=$((rounds + 1))
	done
	wait $noise
	[ "$(cat "$RUN/closed")" = 70 ]
	# The link of the front end is the one that it has had from the start.
	[ "$(grep -c 'server e1: up' "$RUN/f.log")" = 1 ]
	[ "$(curl -sf "$URL/metrics" | sed -n 's/^moe_replays_total{.*} //p')" = 0 ]
	stop f e1 e2
}

@test "garbage on a server's Unix socket: closed, and another client's stream goes on" { disturbed shm; }
@test "garbage on a server's TCP port: closed, and another client's stream goes on" { disturbed tcp; }

@test "a server holds each weight once: at most 1.05 x weights + 20 MB resident" {
	[ "${BUILD:-release}" = release ] || [ "${BUILD:-release}" = debug ] ||
		skip "sanitizers need memory of their own"
	local weights rss
	"$BIN/moe-bench" model -q --shape olmoe,layers=1,experts=32 -o "$RUN/big"
	weights=$((32 * 3 * 2048 * 1024 * 2))
	spawn e1 "$BIN/moe-expertd" -m "$RUN/big" -l "shm:$RUN/e1.sock" -i e1
	rss=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$(pid_of e1)/status")
	echo "# $((weights / 1000000)) MB of weights, $((rss / 1000000)) MB resident" >&3
	[ "$rss" -gt $((weights / 2)) ]
	[ "$rss" -le $((weights / 100 * 105 + 20000000)) ]
	# Half of the experts: half of the memory.
	spawn e2 "$BIN/moe-expertd" -m "$RUN/big" -l "shm:$RUN/e2.sock" -i e2 --experts 16-31
	rss=$(awk '/^VmRSS/ { print $2 * 1024 }' "/proc/$(pid_of e2)/status")
	[ "$rss" -le $((weights / 2 / 100 * 105 + 20000000)) ]
	stop e1 e2
}
