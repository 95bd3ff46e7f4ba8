# shellcheck shell=sh
# fig-lib.sh - what the fig-* scripts share; they read it with ".".
#
# MOE_BENCH: the program, moe-bench from PATH if unset.  FIG_OUT: where streams
# and pictures go, ./fig if unset.  FIG_PASSES: tokens of a sequence to measure.
# FIG_SEEDS: runs of each point.  FIG_QUICK=1: few points, to try a script.

MOE_BENCH=${MOE_BENCH:-moe-bench}
FIG_OUT=${FIG_OUT:-fig}
FIG_QUICK=${FIG_QUICK:-}
FIG_PASSES=${FIG_PASSES:-${FIG_QUICK:+2}}
FIG_PASSES=${FIG_PASSES:-6}
FIG_SEEDS=${FIG_SEEDS:-1}
mkdir -p "$FIG_OUT"

# quick A B: A in quick mode, else B.
quick() {
	if [ -n "$FIG_QUICK" ]; then echo "$1"; else echo "$2"; fi
}

# sim NAME OPTIONS...: append to $FIG_OUT/$FIG.tsv, with a column that says NAME.
sim() {
	name=$1
	shift
	"$MOE_BENCH" sim --passes "$FIG_PASSES" --seeds "$FIG_SEEDS" "$@" |
	    awk -F '\t' -v OFS='\t' -v n="$name" \
	    '/^#/ { print $0, "what"; next } { print $0, n }' \
	    >>"$FIG_OUT/$FIG.tsv"
}

# best NAME MS: the most tokens/s of NAME at a mean ITL of at most MS; 0: none.
best() {
	awk -F '\t' -v n="$1" -v c="$2" '/^#/ { next }
	    $NF == n && $8 <= c && $7 > m { m = $7 }
	    END { printf "%.0f\n", m }' "$FIG_OUT/$FIG.tsv"
}

# ratio A B: A/B with two digits, - if there is no B.
ratio() {
	awk -v a="$1" -v b="$2" \
	    'BEGIN { if (b > 0) printf "%.2f\n", a / b; else print "-" }'
}

# picture X Y: $FIG_OUT/$FIG.png, if gnuplot is here; a line a NAME.
picture() {
	if "$MOE_BENCH" plot -x "$1" -y "$2" -b what --title "$FIG" \
	    -o "$FIG_OUT/$FIG.png" <"$FIG_OUT/$FIG.tsv"; then
		echo "$FIG_OUT/$FIG.png"
	else
		[ $? -eq 69 ] || exit 1
	fi
}

begin() { # NAME
	FIG=$1
	: >"$FIG_OUT/$FIG.tsv"
}
