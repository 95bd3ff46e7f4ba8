#!/usr/bin/env bats
# Six families against transformers' goldens, over rows that cover every pair
# of values of {local, 1 server, 3 servers with 2 copies} x {shm, tcp} x {one
# case at a time, all at once} x {1, 2 threads} x {groups 1, 2, free} x {chunk
# 7, 64, whole} but for the pairs of chunk with free.  f32: every token, logprobs within 5e-4.  bf16: rms of the logprobs
# at most 1.25 times that of transformers in bf16; and the same bits in every
# row, greedy and sampled.

load ../lib/moe

setup() { run_dir; }
teardown() { reap; }

# where transport all threads groups chunk
rows() {
	cat <<'ROWS'
local shm one 1 1 7
local tcp all 2 2 64
local shm all 1 free 16384
one shm one 2 1 64
one tcp all 1 free 16384
one shm all 2 2 7
three tcp one 1 2 7
three shm all 1 1 64
three shm all 2 free 7
three tcp one 2 2 16384
three shm one 2 1 16384
one tcp one 1 2 64
three tcp all 2 1 7
ROWS
}

# up MODEL DTYPE WHERE TRANSPORT THREADS GROUPS CHUNK
up() {
	local front="-m $1 --dtype $2 --threads $5 --groups $6 --chunk $7 --step-rows 1024"
	case $3 in
	local) start_front f $front --local ;;
	one) start_experts "$1" "$4" 1 1 --dtype "$2" --threads "$5" &&
		start_front f $front -f "$RUN/cluster.conf" ;;
	three) start_experts "$1" "$4" 3 2 --dtype "$2" --threads "$5" &&
		start_front f $front -f "$RUN/cluster.conf" ;;
	esac
}

down() {
	local id
	for id in f e1 e2 e3; do
		[ -e "$RUN/$id.pid" ] && stop $id
	done
	return 0
}

# The f32 and bf16 checks of one model in one row.
check_f32() { # MODEL ROW...
	local model=$1 all=
	[ "$4" = all ] && all=--all
	up "$model" f32 "$2" "$3" "$5" "$6" "$7" || return 1
	"$TOOL/golden" $all "$URL" "$model/golden.json" || { echo "row: $*"; return 1; }
	down
}

bits() { # MODEL ROW...: hashes of greedy and sampled runs, one line
	local model=$1 all=
	[ "$4" = all ] && all=--all
	up "$model" auto "$2" "$3" "$5" "$6" "$7" || return 1
	"$TOOL/golden" $all --tol 1e9 --force "$URL" "$model/golden.json" >"$RUN/force" || return 1
	"$TOOL/golden" $all --tol 1e9 "$URL" "$model/golden.json" >"$RUN/greedy"
	"$TOOL/golden" $all --seed 42 "$URL" "$model/golden.json" >"$RUN/drawn" || return 1
	sed 's/.*hash=//' "$RUN/force" "$RUN/greedy" "$RUN/drawn" | tr '\n' ' '
	down
}

family_f32() {
	local row
	while read -r row; do
		check_f32 "$1" $row
	done < <(rows)
}

family_bf16() {
	local row first= got
	while read -r row; do
		got=$(bits "$1" $row) || { echo "$got; row: $row"; return 1; }
		if [ -z "$first" ]; then
			first=$got
			cat "$RUN/force"
			awk '{ split($3, r, "="); split($4, h, "=");
			    exit !(r[2] <= 1.25 * h[2]) }' "$RUN/force"
		fi
		[ "$got" = "$first" ] || { echo "other bits in row $row: $got, first: $first"; return 1; }
	done < <(rows)
}

@test "mixtral f32" { family_f32 $GOLDEN/mixtral; }
@test "qwen2_moe f32" { family_f32 $GOLDEN/qwen2_moe; }
@test "qwen3_moe f32" { family_f32 $GOLDEN/qwen3_moe; }
@test "olmoe f32" { family_f32 $GOLDEN/olmoe; }
@test "granitemoe f32" { family_f32 $GOLDEN/granitemoe; }
@test "granitemoeshared f32" { family_f32 $GOLDEN/granitemoeshared; }
@test "mixtral: the same bits" { family_bf16 $GOLDEN/mixtral; }
@test "qwen2_moe bf16: the same bits" { family_bf16 $GOLDEN/qwen2_moe; }
@test "qwen3_moe bf16: the same bits" { family_bf16 $GOLDEN/qwen3_moe; }
@test "olmoe bf16: the same bits" { family_bf16 $GOLDEN/olmoe; }
@test "granitemoe bf16: the same bits" { family_bf16 $GOLDEN/granitemoe; }
@test "granitemoeshared bf16: the same bits" { family_bf16 $GOLDEN/granitemoeshared; }

@test "the bundled model, f32 and bf16" {
	check_f32 models/tales local shm all 2 1 64
	check_f32 models/tales three shm all 1 2 64
	a=$(bits models/tales local shm one 1 1 64)
	b=$(bits models/tales three tcp all 1 2 7)
	[ "$a" = "$b" ]
	b=$(bits models/tales three tcp all 1 free 7)
	[ "$a" = "$b" ]
}
