# setup.sh - sourced by bin/moe-up and tests/run: which packages the toolkit
# needs, how the missing ones get onto the machine, and the build.
#
# The caller sets moe_root (the checkout) and moe_prog (its own name); messages
# go to stderr.  Nothing happens when this file is read.
#
#   moe_install PKG...   installs what dpkg says is missing; status 69 when it
#                        may not (MOE_NO_INSTALL=1) or cannot (no root)
#   moe_build            make in the checkout; status of make

# shellcheck disable=SC2034,SC2154 # the caller's, and for the caller

# To build, and to run bin/*.
moe_pkg_build='gcc make libc6-dev libevent-dev libjansson-dev libpcre2-dev
	libutf8proc-dev libcurl4-openssl-dev libzstd-dev libssl-dev
	curl'
# To run every test.
moe_pkg_test='bats clang shellcheck mandoc jq universal-ctags procps iproute2 spin zstd'

moe_say() {
	printf '%s: %s\n' "$moe_prog" "$*" >&2
}

moe_have() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = \
	    installed ]
}

moe_install() {
	moe_miss=
	# Elsewhere than on Debian the compiler tells what is missing.
	command -v dpkg-query >/dev/null 2>&1 || return 0
	for moe_p in "$@"; do
		moe_have "$moe_p" || moe_miss="$moe_miss $moe_p"
	done
	[ -n "$moe_miss" ] || return 0
	if [ "${MOE_NO_INSTALL:-0}" = 1 ]; then
		moe_say "missing packages:$moe_miss (MOE_NO_INSTALL=1: not installed)"
		return 69
	fi
	moe_sudo=
	if [ "$(id -u)" != 0 ]; then
		if ! sudo -n true 2>/dev/null; then
			moe_say "missing packages; as root, run"
			printf '    apt-get update && apt-get install -y%s\n' \
			    "$moe_miss" >&2
			return 69
		fi
		moe_sudo='sudo -n'
	fi
	moe_say "installing with apt-get:$moe_miss"
	moe_log=$(mktemp) || return 75
	# shellcheck disable=SC2086 # lists of words
	if $moe_sudo apt-get update >"$moe_log" 2>&1 &&
	    $moe_sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y \
	    --no-install-recommends $moe_miss >>"$moe_log" 2>&1; then
		rm -f "$moe_log"
		return 0
	fi
	tail -n 20 "$moe_log" >&2
	rm -f "$moe_log"
	moe_say "apt-get failed; the packages are:$moe_miss"
	return 69
}

# One build at a time in a checkout: several clusters may start at once.
moe_build() {
	moe_log=$(mktemp) || return 75
	mkdir -p "$moe_root/build" || return 75
	[ -x "$moe_root/bin/moe-attnd" ] ||
	    moe_say "building (a minute or two the first time)"
	if (
		flock 9
		exec make -C "$moe_root" -j"$(nproc)" all
	) 9>"$moe_root/build/.lock" >"$moe_log" 2>&1; then
		rm -f "$moe_log"
		return 0
	fi
	tail -n 30 "$moe_log" >&2
	rm -f "$moe_log"
	moe_say "the build failed"
	return 70
}
