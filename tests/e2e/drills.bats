#!/usr/bin/env bats
# The drills of the library, as short as they can be; tests/drills has the rest.

load ../lib/moe

setup() {
	run_dir
	export MOE_BIN=$PWD/$BIN TMPDIR=$RUN
}

teardown() {
	reap
}

@test "every drill of the library can be read and says what it stands for" {
	local f n=0
	for f in contrib/drills/*.drill; do
		"$BIN/moe-failsim" run -n "$f" >/dev/null
		sed -n 2p "$f" | grep -q '^# [A-Z]'
		grep -q '^cluster ' "$f"
		n=$((n + 1))
	done
	[ "$(bin/moe-drill --list | wc -l)" -eq "$n" ]
}

@test "tests/drills --short: some of them" {
	tests/drills --short link-cut front-kill >"$RUN/table" 3>&- 4>&- ||
		{ cat "$RUN/table" >&2; return 1; }
	cat "$RUN/table" >&2
	[ "$(grep -c '^| [a-z]' "$RUN/table")" -eq 3 ]	# with the head
	! grep -q '| no' "$RUN/table" || return 1
	[ "$(ls "$RUN")" = table ]
}

@test "moe-drill passes on what judge says" {
	fails 1 bin/moe-drill --count 1 link-cut -- --min-during 1000 3>&- 4>&-
	grep -q '^# no: .*--min-during' "$RUN/out"
	fails 64 bin/moe-drill no-such-drill
	fails 64 bin/moe-drill
	echo 'moe-drill 2' >"$RUN/bad"
	fails 65 bin/moe-drill "$RUN/bad"
}
