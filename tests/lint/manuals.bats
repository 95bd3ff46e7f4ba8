#!/usr/bin/env bats
# The manual pages: sound mdoc, one for every program, the options of --help,
# and examples that work.
#
# Examples: a line of the EXAMPLES section that begins with "$ " is a command;
# lines after it belong to it while it ends in a backslash, and up to the end
# mark of a here-document.  Other lines are output or files.  All commands of
# a page are one script, which runs in a scratch directory where models is the
# repository's, with the programs on PATH, in a network of its own if the
# machine allows it.  What it leaves in the background has to be alive or done
# with success at the end.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

programs() { ls bin/moe-up bin/moe-down bin/moe-ask "$BIN"/moe-*; }

path_of() { # PROGRAM
	if [ -x "$BIN/$1" ]; then echo "$BIN/$1"; else echo "bin/$1"; fi
}

# "m model" or "- model", one line an option, from --help on stdin.
help_options() {
	sed -nE 's/^  (-(.), |    )--([a-z0-9-]+).*/\2 \3/p' |
	    sed 's/^ /- /' | sort -u
}

# The same from a page.  With a verb: only from the list below the heading that
# ends in the verb's name, and from those below none.
page_options() { # PAGE [VERB]
	awk -v verb="${2:-}" '
		/^\.S[hs] / { n = split($0, w, " "); head = tolower(w[n])
			if ($1 == ".Sh") head = "" }
		/^\.It Fl / && (verb == "" || head == verb || head == "") {
			sub(/^\.It Fl /, "")
			c = "-"
			if (match($0, /^[a-zA-Z] , (Fl )?-/)) {
				c = substr($0, 1, 1)
				$0 = substr($0, RLENGTH)
			}
			print c, substr($1, 2)
		}' "$1" | sort -u
}

@test "mandoc finds no fault" {
	command -v mandoc >/dev/null || lack mandoc "mandoc is not here"
	mandoc -Tlint -W warning man/*.[1578]
}

@test "every program has a page, every cross reference leads somewhere" {
	local p page
	for p in $(programs); do
		[ -e "man/${p##*/}.1" ] || { echo "no page: $p"; return 1; }
	done
	sed -n 's/^\.Xr \(moe[a-z-]*\) \([1578]\).*/\1.\2/p; s/^\.It Xr \(moe[a-z-]*\) \([1578]\).*/\1.\2/p' \
	    man/* | sort -u | while read -r page; do
		[ -e "man/$page" ] || { echo "no page: $page"; return 1; }
	done
}

@test "the options of each page are those of --help" {
	local p name verb verbs bad=0
	for p in $(programs); do
		name=${p##*/}
		verbs=$("$p" --help | sed -nE 's/^  ([a-z]+) .*/\1/p')
		[ -n "$verbs" ] || verbs=-
		for verb in $verbs; do
			[ "$verb" != - ] || verb=
			"$p" $verb --help | help_options >"$RUN/help"
			[ -s "$RUN/help" ]
			page_options "man/$name.1" $verb >"$RUN/page"
			diff "$RUN/help" "$RUN/page" || {
				echo "$name $verb: < --help, > manual"
				bad=1
			}
		done
	done
	[ $bad = 0 ]
}

# The commands of a page's examples.
commands() { # PAGE
	mandoc -T utf8 -O width=500,indent=0 "$1" | sed "s,.\x08,,g" | awk '
		/^[A-Z]/ { on = /^EXAMPLES/; next }
		!on { next }
		{ sub(/^ */, "") }
		end != "" { print; if ($0 == end) end = ""; next }
		/^\$ / { sub(/^\$ /, ""); go = 1 }
		go {
			print
			go = /\\$/
			if (match($0, /<<[^ ]+/))
				end = substr($0, RSTART + 2, RLENGTH - 2)
		}'
}

net() { if unshare -rn true 2>/dev/null; then
	unshare -rn sh -c 'ip link set lo up; exec "$@"' - "$@"
else
	"$@"
fi; }

@test "the examples of each page work" {
	local page name
	command -v mandoc >/dev/null || lack mandoc "mandoc is not here"
	for page in man/*.[15]; do
		name=$(basename "$page")
		mkdir "$RUN/$name"
		ln -s "$MOE_ROOT/models" "$RUN/$name/models"
		{
			echo "trap 'kill -9 \$(jobs -p) 2>/dev/null' EXIT"
			echo 'set -e'
			commands "$page" | sed "s,/tmp/,$RUN/$name/,g"
			cat <<-'END'
				set +e
				for job in $(jobs -p); do
					kill -TERM $job 2>/dev/null
					wait $job
					rc=$?
					case $rc in 0|143) ;; *) exit $rc ;; esac
				done
			END
		} >"$RUN/$name/.script"
		[ "$(commands "$page" | wc -l)" -ge 1 ] ||
			{ echo "$page: no example"; return 1; }
		(
			cd "$RUN/$name"
			export MOE_BIN=$MOE_ROOT/$BIN
			export PATH="$MOE_BIN:$MOE_ROOT/bin:$PATH"
			net timeout 120 bash .script >.out 2>&1
		) || {
			echo "$page: an example failed:"
			cat "$RUN/$name/.script" "$RUN/$name/.out"
			return 1
		}
	done
}
