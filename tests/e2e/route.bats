#!/usr/bin/env bats
# The map changes while streams run: experts move, servers come, drain, die by
# an operator's word, and the router itself is killed.  Not one token changes.

load ../lib/moe

MODEL=models/tales

setup() { run_dir; }
teardown() { reap; }

route() { # VERB ARGUMENTS...: ask the router
	local verb=$1
	shift
	"$BIN/moe-route" "$verb" -f "$RUN/cluster.conf" "$@"
}

expert() { # ID [moe-expertd options]
	local id=$1
	shift
	spawn "$id" "$BIN/moe-expertd" -m $MODEL -f "$RUN/cluster.conf" -i "$id" "$@"
}

joins() { expert "$1" -l "shm:$RUN/$1.sock"; } # the file does not name it

router() { spawn r1 "$BIN/moe-route" serve -f "$RUN/cluster.conf" --settle 1s "$@"; }

# begin N COPIES [moe-route serve options]: sets URL and WANT.
begin() {
	local i n=$1
	{
		printf 'moe-cluster 1\nmodel %s\nreplicas %s\n' $MODEL "$2"
		for i in $(seq "$n"); do echo "expert e$i shm:$RUN/e$i.sock"; done
		echo "route r1 shm:$RUN/r1.sock"
	} >"$RUN/cluster.conf"
	shift 2
	router "$@"
	for i in $(seq "$n"); do expert "e$i"; done
	start_front f -m $MODEL -f "$RUN/cluster.conf" --deadline 500ms
	WANT=$(drawn)
}

drawn() { "$TOOL/golden" --all --seed 7 "$URL" $MODEL/golden.json | sed 's/.*hash=//'; }

# Streams in the background, over and over, until `undisturbed` ends them.
streams() {
	rm -f "$RUN/over"
	while [ ! -e "$RUN/over" ]; do drawn; done >"$RUN/got" &
	STREAMS=$!
}

undisturbed() {
	touch "$RUN/over"
	wait $STREAMS
	[ -s "$RUN/got" ]
	! grep -vx "$WANT" "$RUN/got" || { echo "want $WANT" >&2; return 1; }
}

experts_of() { # ID: how many it has in memory
	route status | awk -F '\t' -v id="$1" '$2 == id { print $6 }'
}

state_of() { route status | awk -F '\t' -v id="$1" '$2 == id { print $5 }'; }

has() { [ "$(experts_of "$1")" = "$2" ]; }

has_about() { # ID N: as many, but for one a layer
	local n
	n=$(experts_of "$1")
	[ "$n" -ge $(($2 - 6)) ] && [ "$n" -le $(($2 + 6)) ]
}

heard() { # ID: it answers the router again
	[ "$(route status | awk -F '\t' -v id="$1" '$2 == id { print $11 }')" -lt 500 ]
}

version() { route status | awk -F '\t' 'NR == 2 { print $12 }'; }

# Nothing is being loaded, and every front end goes by the map.
settled() {
	route status | awk -F '\t' '
		NR > 1 && ($13 != 0 || $15 > 0 || ($1 == "front" && $14 != $12)) { bad = 1 }
		END { exit bad || NR < 2 }'
}

@test "experts move and a map is applied, under load" {
	begin 3 1
	streams
	before=$(experts_of e1)
	route move --wait all e1 e2 >"$RUN/out"
	grep -qx "2	done	$before" "$RUN/out"
	has e1 0
	route status --map >"$RUN/two.tsv"
	! grep -q $'\te1\t' "$RUN/two.tsv"
	# Back and forth, a change for each layer.
	for layer in 0 1 2 3; do
		route move --wait $layer:0-15 e2 e1 >"$RUN/out"
	done
	route status --map >"$RUN/more.tsv"
	"$BIN/moe-route" diff "$RUN/two.tsv" "$RUN/more.tsv" >"$RUN/diff.tsv"
	[ "$(grep -c add "$RUN/diff.tsv")" = "$(grep -c drop "$RUN/diff.tsv")" ]
	[ "$(grep -c $'\te1\tadd' "$RUN/diff.tsv")" = "$(experts_of e1)" ]
	route apply --wait <"$RUN/two.tsv" >"$RUN/out"
	has e1 0
	route status --map | "$BIN/moe-route" diff "$RUN/two.tsv" - >"$RUN/diff.tsv"
	[ "$(wc -l <"$RUN/diff.tsv")" = 1 ]
	undisturbed
	[ "$(version)" = 7 ]
	fails 65 route move 0-3 e1 e2
	fails 65 route move 0-3 e2 e9
	fails 64 route move 99 e2 e1
	fails 64 route move e2 e1
	fails 65 route apply </dev/null
	sed 's/two/&/; 2,$s/\te2\t/\te8\t/' "$RUN/two.tsv" >"$RUN/bad.tsv"
	fails 75 route apply <"$RUN/bad.tsv"
	grep -q 'e8 is not known' "$RUN/err"
}

@test "1 to 6 servers and back, one at a time, under load" {
	begin 1 2
	streams
	for i in 2 3 4 5 6; do
		joins "e$i"
		retry 20 settled
		retry 20 has_about "e$i" $((192 / i))
	done
	for i in 2 5 1 3 4; do
		route drain --wait "e$i" >"$RUN/out"
		grep -q done "$RUN/out"
		wait "$(pid_of "e$i")"		# it has ended by itself, with 0
		rm "$RUN/e$i.pid"
	done
	has e6 96
	undisturbed
	fails 75 route drain e6
}

@test "a dead server's experts go to others at once; started anew it comes back" {
	begin 3 2 --grace 1h
	streams
	kill -STOP "$(pid_of e2)"
	route dead --wait e2 >"$RUN/out"
	[ "$(state_of e2)" = dead ]
	has e1 96
	has e3 96
	# It goes on, and is not let in.
	kill -CONT "$(pid_of e2)"
	retry 20 heard e2
	[ "$(state_of e2)" = dead ]
	has e2 0
	stop e2
	expert e2
	retry 20 has_about e2 64
	retry 20 settled
	undisturbed
	[ "$(state_of e2)" = serving ]
	fails 65 route dead e7
}

@test "a server that is gone is made up for" {
	begin 3 2 --grace 500ms
	streams
	kill -KILL "$(pid_of e3)"
	wait "$(pid_of e3)" || true
	retry 20 has e1 96
	retry 20 has e2 96
	[ "$(state_of e3)" = gone ]
	undisturbed
}

@test "the router is killed in the middle of changes, and started again" {
	begin 3 1
	streams
	for i in 1 2 3; do
		route move 0-7 e1 e2 >"$RUN/out" || true
		kill -KILL "$(pid_of r1)"
		wait "$(pid_of r1)" || true
		[ "$i" != 2 ] || joins e4 # nobody is there to let it in
		router
		retry 20 settled
		route move --wait all e2 e1 >"$RUN/out"
	done
	retry 20 settled
	[ "$(experts_of e4)" -gt 0 ]
	undisturbed
	grep -q 'learned from f' "$RUN/r1.log"
	[ "$(version)" -ge 4 ]
}

@test "status shows deadlines and round trips, top the load" {
	begin 2 2
	[ "$(drawn)" = "$WANT" ]
	route status --pairs >"$RUN/pairs"
	awk -F '\t' 'NR == 1 { ok = $1 == "#moe:pair/1" }
		NR > 1 { n++; if ($4 < 1 || $6 < $4 || $3 != "up") ok = 0 }
		END { exit !(ok && n == 2) }' "$RUN/pairs"
	route status -j | grep -q '"deadline_us":[1-9]'
	route top -n 3 -d 50ms >"$RUN/top"
	[ "$(grep -c $'\te1\t' "$RUN/top")" = 3 ]
	[ "$(grep -c $'\tfront\tf\t' "$RUN/top")" = 3 ]
	fails 64 route top -n 0
}

@test "another checkpoint is refused by the router, both fingerprints are named" {
	begin 1 1
	"$BIN/moe-bench" model -q --shape small -o "$RUN/other"
	spawn e2 "$BIN/moe-expertd" -m "$RUN/other" -f "$RUN/cluster.conf" -i e2 -l "shm:$RUN/e2.sock"
	retry 10 grep -qE 'fingerprint.*[0-9a-f]{12,16}.*[0-9a-f]{12,16}' "$RUN/e2.log"
	[ -z "$(state_of e2)" ]
}
