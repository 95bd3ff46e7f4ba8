#!/usr/bin/env bats
# The shell scripts.

load ../lib/moe

scripts() { ls bin/moe-* .ci/run tests/run tests/drills tests/fuzz/run tests/peers/compare contrib/*.sh 2>/dev/null | while read -r f; do
	[ "$(head -c 2 "$f")" = '#!' ] || case $f in *.sh) ;; *) continue ;; esac
	LC_ALL=C grep -qP '\x00' "$f" || echo "$f"
done; }

@test "POSIX sh accepts them" {
	local f n=0
	for f in $(scripts); do
		dash -n "$f"
		n=$((n + 1))
	done
	[ $n -ge 6 ]
}

@test "shellcheck has nothing to say" {
	command -v shellcheck >/dev/null || lack shellcheck "shellcheck is not here"
	shellcheck -x -s sh $(scripts)
}

@test "they answer --help and refuse what they do not know" {
	local p
	for p in moe-up moe-down moe-ask; do
		bin/$p --help | grep -q '^usage: '
		run bin/$p --no-such-option
		[ "$status" -eq 64 ]
	done
}
