#!/usr/bin/env bats
# The shape of the C code: floors, names, sizes, headers, what a library may
# call, and that both compilers accept it without a warning.

load ../lib/moe

B=${MOE_BUILD:-build/release}
# Lowest first, as `link_order` of the Makefile has them, reversed.
FLOORS="base wire loop link model cluster expert"

setup() {
	run_dir
	unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
}
teardown() { reap; }

# Global symbols that an object or archive defines, and those that it needs.
defined() { # not those of sanitizers
	nm -g --defined-only "$1" 2>/dev/null |
	    awk 'NF == 3 && $2 ~ /[TDBRVWGS]/ && $3 !~ /^__(odr_)?[at]san/ { print $3 }' | sort -u
}
needed() { nm -u "$1" 2>/dev/null | awk '$1 == "U" { print $2 }' | sort -u; }

# The sources of this build: every object of it that came from a tracked .c.
objects() { # FOLDER...
	local f o
	for f in $(git ls-files -- "${@/%//*.c}" 2>/dev/null || find "$@" -name '*.c'); do
		o=$B/${f%.c}.o
		[ ! -e "$o" ] || echo "$f $o"
	done
}

nothing_in() { # FILE: it is empty; else it is the list of what is wrong
	[ ! -s "$1" ] || { cat "$1" >&2; return 1; }
}

@test "every header compiles alone, with the headers of lower floors only" {
	local dir f inc=-Ikernels
	for f in kernels/*.h kernels/*/*.h; do
		gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -mavx2 -mfma -mf16c \
		    -Ikernels -Ikernels/cpu -fsyntax-only -x c "$f" ||
			echo "$f" >>"$RUN/bad"
	done
	for dir in $FLOORS; do
		inc="$inc -Icommon/$dir"
		for f in common/"$dir"/*.h; do
			[ -e "$f" ] || continue
			gcc -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror $inc \
			    -fsyntax-only -x c "$f" || echo "$f" >>"$RUN/bad"
		done
	done
	nothing_in "$RUN/bad"
}

@test "a floor uses nothing of a higher floor, the kernels nothing of any" {
	local f g higher
	: >"$RUN/bad"
	for f in $FLOORS; do
		defined "$B/lib$f.a" >"$RUN/def.$f"
		[ -s "$RUN/def.$f" ]
		needed "$B/lib$f.a" | comm -23 - "$RUN/def.$f" >"$RUN/need.$f"
	done
	needed "$B/libkern.a" >"$RUN/need.kern"
	for f in $FLOORS; do
		comm -12 "$RUN/need.kern" "$RUN/def.$f" | sed "s/^/kernels use $f: /" >>"$RUN/bad"
	done
	for f in $FLOORS; do
		higher=no
		for g in $FLOORS; do
			[ $higher = no ] || comm -12 "$RUN/need.$f" "$RUN/def.$g" |
				sed "s/^/$f uses $g: /" >>"$RUN/bad"
			[ "$g" != "$f" ] || higher=yes
		done
	done
	nothing_in "$RUN/bad"
}

@test "the file name is the prefix of what it exports" {
	# foo_bar.c exports foo_*; in a program's folder, where all files begin
	# with the program's letters, also bar_*.
	objects common kernels src | while read -r src obj; do
		name=$(basename "$src" .c)
		[ "$name" != main ] || continue
		rest=${name#*_}
		case $src in src/*) ;; *) rest=$name ;; esac
		defined "$obj" | grep -vE "^(${name%%_*}|${rest%%_*})(_|\$)" |
			sed "s,^,$src: ," || true
	done >"$RUN/bad"
	nothing_in "$RUN/bad"
}

@test "libraries neither print nor exit" {
	# log.c, err.c, mem.c and cli.c are where that happens for everybody; the
	# kernels, which know nothing of common/, have kern.c, and pool.c for
	# a machine that has no thread left.
	objects common kernels | while read -r src obj; do
		case $src in
		common/base/log.c|common/base/err.c|common/base/mem.c|common/base/cli.c|kernels/kern.c|kernels/cpu/pool.c) continue ;;
		esac
		needed "$obj" | grep -xE 'v?printf|puts|putchar|perror|std(out|err)|_?exit|quick_exit|abort|__assert_fail|_Exit|err|warn|v?errx?|v?warnx?' |
			sed "s,^,$src: ," || true
	done >"$RUN/bad"
	nothing_in "$RUN/bad"
}

@test "no function above 120 lines, no file above 1000" {
	command -v ctags >/dev/null && ctags --version | grep -q Universal ||
		lack ctags "universal-ctags is not here"
	local files
	files=$(find common kernels src tests -name '*.[ch]' -o -name '*.cu' | sort)
	wc -l $files | awk '$2 != "total" && $1 > 1000 { print $2 ": " $1 " lines" }' >"$RUN/bad"
	ctags -f - --fields=+ne --kinds-c=f --kinds-c++=f --langmap=c++:+.cu $files |
		awk -F '\t' '{ for (i = 4; i <= NF; i++) { split($i, a, ":"); v[a[1]] = a[2] }
			if (v["end"] - v["line"] > 120)
				print $2 ":" v["line"] ": " $1 " has " v["end"] - v["line"] + 1 " lines"
			v["end"] = v["line"] = 0; n++ }
			END { if (n < 500) print "only " n " functions seen" }' >>"$RUN/bad"
	nothing_in "$RUN/bad"
}

@test "no marks of unfinished work, no feature #ifdef" {
	{
		grep -rnIE '\b(TODO|FIXME|XXX|HACK)\b' common kernels src contrib tests/lib tests/tool man
		grep -rnIE '^#[[:space:]]*if(def|ndef)?\b.*(HAVE_|WITH_|MOE_USE)' common kernels src
	} >"$RUN/bad" || true
	nothing_in "$RUN/bad"
}

@test "clang has no warning" {
	command -v clang >/dev/null || lack clang "clang is not here"
	# Not what needs the headers of a package that is not here.
	make -s -j2 -k CC=clang BUILD=debug --eval='
syntax: $(patsubst %.c,%.syntax,$(filter-out $(filter-out $(picked) kernels/cuda/%,$(feature_files)),$(shell find common kernels src tests -name "*.c")))
%.syntax: %.c
	$(CC) $(ALL_CFLAGS) $(CFLAGS_$(notdir $*)) -Itests/lib -fsyntax-only $<' syntax
}

@test "every number of the wire is in moe-wire(7)" {
	local name value n=0
	command -v mandoc >/dev/null || lack mandoc "mandoc is not here"
	mandoc -T ascii -O width=200 man/moe-wire.7 | sed 's,.\x08,,g' >"$RUN/wire.txt"
	: >"$RUN/bad"
	while read -r name value; do
		n=$((n + 1))
		grep -qE "^ +$((value)) +$name( |\$)" "$RUN/wire.txt" ||
			echo "no row: $((value)) $name" >>"$RUN/bad"
	done < <(sed -nE 's/^\t((FRAME|SLOT|MSG|LINK_MSG)_[A-Z0-9_]+) = ([0-9][0-9 <]*).*/\1 \3/p' \
	    common/wire/*.h common/link/link.h)
	[ "$n" -ge 40 ]
	nothing_in "$RUN/bad"
}
