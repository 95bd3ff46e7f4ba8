#!/usr/bin/env bats
# One of three expert servers behind each kind of fault in turn; not one token
# changes.  The experts stay; each fault has a front end of its own.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

drawn() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

metric() { curl -sf "$URL/metrics" | sed -n "s,^$1[^ ]* ,,p"; }

# transport, spec, and whether calls have to be replayed because of it
faults() {
	cat <<'FAULTS'
shm delay=300us,jitter=300us no
tcp throttle=30M no
tcp reorder=0.03 no
shm drop=0.006,dir=out yes
tcp drop=0.006,dir=in yes
shm corrupt-header=0.02 yes
tcp corrupt-routes=0.02 yes
tcp corrupt-payload=0.02,dir=out yes
shm corrupt-payload=0.02,dir=in yes
shm duplicate=0.02,dir=in yes
tcp duplicate=0.02,dir=out yes
shm cut=100 yes
tcp cut-at=100ms yes
shm half-open=out,after=100ms,until=1s yes
tcp half-open=in,after=100ms,until=1s yes
FAULTS
}

suffer() { # SPEC REPLAYS WANT
	local got replays patience=200ms
	# A slow machine is no reason to replay what is only late.
	[ "$2" = yes ] || patience=20s
	sed "s|^expert e2 |&fault:$1:|" "$RUN/cluster.conf" >"$RUN/fault.conf"
	start_front f -m $MODEL -f "$RUN/fault.conf" --deadline $patience || return 1
	got=$(drawn)
	replays=$(metric moe_replays_total)
	stop f
	[ "$got" = "$3" ] || { echo "$1: $got, want $3"; return 1; }
	case $2 in
	yes) [ "$replays" -gt 0 ] ;;
	no) [ "$replays" -eq 0 ] ;;
	esac || { echo "$1: $replays replayed"; return 1; }
}

all_of() { # TRANSPORT
	local want tp spec replays
	start_experts $MODEL "$1" 3 2
	start_front f -m $MODEL -f "$RUN/cluster.conf" --deadline 200ms
	want=$(drawn)
	stop f
	while read -r tp spec replays; do
		suffer "$spec" "$replays" "$want" </dev/null || return 1
	done < <(faults | grep "^$1 ")
}

@test "faults over shm" { all_of shm; }
@test "faults over tcp" { all_of tcp; }

@test "a cluster file with a fault: the servers listen on the address within" {
	printf 'moe-cluster 1\nreplicas 2\nexpert e1 fault:drop=0.01:shm:%s/e1.sock\n' "$RUN" >"$RUN/cluster.conf"
	printf 'expert e2 shm:%s/e2.sock\n' "$RUN" >>"$RUN/cluster.conf"
	spawn e1 "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i e1
	[ -S "$RUN/e1.sock" ]
	sed -i 's/drop=0.01/dorp=0.01/' "$RUN/cluster.conf"
	fails 65 "$BIN/moe-expertd" -n -m $MODEL -f "$RUN/cluster.conf" -i e1
	grep -q "cluster.conf:3: .*no such key 'dorp'" "$RUN/err"
}
