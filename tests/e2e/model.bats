#!/usr/bin/env bats
# The slot protocol and the change of maps for every order of events, by a model
# checker.
load ../lib/moe

setup() {
	command -v spin >/dev/null || lack spin "spin is not installed"
	cd "$BATS_TEST_TMPDIR" || return 1
}

# check FLAGS [MODEL]: what the checker says about the model.
check() {
	# shellcheck disable=SC2086 # flags
	spin -a $1 "$MOE_ROOT/tests/model/${2:-slot}.pml"
	gcc -w -O2 -DSAFETY -DCOLLAPSE -o pan pan.c
	./pan -m10000
}

@test "no order of events counts an answer twice, takes a wrong one or gets stuck" {
	run check ""
	[[ $output == *"errors: 0"* ]]
	# All of it was searched, and there was something to search.
	[[ $output != *"max search depth too small"* ]]
	states=$(sed -n 's/^ *\([0-9]*\) states, stored$/\1/p' <<<"$output")
	[ "$states" -gt 50000 ]
}

@test "with memory that is used again the checker finds a lost answer" {
	run check -DREUSE
	[[ $output == *"errors: 1"* ]]
}

@test "no order of events loses a route or counts one twice while maps change" {
	run check "" map
	[[ $output == *"errors: 0"* ]]
	[[ $output != *"max search depth too small"* ]]
	states=$(sed -n 's/^ *\([0-9]*\) states, stored$/\1/p' <<<"$output")
	[ "$states" -gt 50000 ]
}

@test "a copy that is given up before its last use: the checker finds the refused route" {
	run check -DEARLY map
	[[ $output == *"errors: 1"* ]]
	[[ $output == *"assertion violated"* ]]
	run check -DFORGET map
	[[ $output == *"errors: 1"* ]]
	[[ $output == *"assertion violated"* ]]
}
