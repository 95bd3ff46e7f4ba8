#!/usr/bin/env bats
# A checkpoint that is wrong is refused with exit 65 by whoever opens it, with
# one line that names the file and the tensor or key.  One change a row, made
# to the tiny OLMoE (one file) or Qwen3-MoE (sharded).

load ../lib/moe

setup() { run_dir; M=$RUN/model; }
teardown() { reap; }

# model -> change (a function below) -> words of the message, after which a
# reader knows what to repair.
rows() {
	cat <<'ROWS'
olmoe|cut model.safetensors 900000|model.safetensors: tensor ; truncated
olmoe|cut model.safetensors 5000|model.safetensors: the header says ; past the end
olmoe|cut model.safetensors 5|model.safetensors: 5 bytes
olmoe|bytes model.safetensors 0 \377\377\377\377\377\377\377\177|a header of 9223372036854775807 bytes
olmoe|header mlp.experts.7.up_proj mlp.experts.7.xx_proj|experts.7.up_proj.weight [40, 96] is missing
olmoe|header [10,96] [96,10]|mlp.gate.weight has shape [96, 10]; asks for [10, 96]
olmoe|header "BF16" "Q7BF"|dtype: "Q7BF"
olmoe|header experts.3.up_proj experts.3.gateprj|experts.3.up_proj
olmoe|config "olmoe" "gpt9"|config.json: model_type: "gpt9"; olmoe
olmoe|config "clip_qkv":.null "quantization_config":{"quant_method":"gptq"}|config.json: quantization_config.quant_method; gptq
olmoe|config "num_experts":.10 "num_experts":4000000000|config.json: num_experts: 4000000000
olmoe|config "num_hidden_layers":.4 "num_hidden_layers":9|model.layers.4.; missing
olmoe|config "hidden_size":.96, "hidden_size":96|config.json: line ; JSON
olmoe|config "hidden_size":.96, "hidden_size":96,"hidden_size":96,|config.json: line ; duplicate
olmoe|pipe config.json|config.json: not a regular file
qwen3_moe|index model-00001-of-00008.safetensors ../x|index.json; ../x
qwen3_moe|index model-00003-of-00008.safetensors gone.safetensors|gone.safetensors: No such file
ROWS
}

pipe() { rm "$M/$1" && mkfifo "$M/$1"; }
cut() { truncate -s "$2" "$M/$1"; }
bytes() { printf "$3" | dd of="$M/$1" bs=1 seek="$2" conv=notrunc status=none; }
# Of the same length as what it replaces; first occurrence.
header() { replace "$M/model.safetensors" "$1" "$2"; }
config() { replace "$M/config.json" "$1" "$2"; }
index() { replace "$M/model.safetensors.index.json" "$1" "$2"; }

# FILE FROM TO: the first FROM becomes TO; ":." in FROM stands for ": ", since
# rows are split at blanks.
replace() {
	perl -0777 -pi -e 'BEGIN { ($f, $t) = splice @ARGV, 0, 2; $f =~ s/:\./: /; }
		$n = index($_, $f); die "no $f\n" if $n < 0;
		substr($_, $n, length $f) = $t' "$2" "$3" "$1"
}

@test "malformed checkpoints exit 65 and say where" {
	local model change words word n=0
	while IFS='|' read -r model change words; do
		rm -rf "$M"
		cp -r "$GOLDEN/$model" "$M"
		chmod -R u+w "$M"
		set -f
		$change
		set +f
		fails 65 "$BIN/moe-expertd" -n -m "$M" -i e1 \
			-l tcp:127.0.0.1:0 --experts all
		[ ! -s "$RUN/out" ]
		[ "$(wc -l <"$RUN/err")" -eq 1 ]
		while IFS= read -r word; do
			grep -qF -- "$word" "$RUN/err" || {
				echo "row: $model|$change: no '$word' in:" >&2
				cat "$RUN/err" >&2
				return 1
			}
		done <<<"${words//; /$'\n'}"
		n=$((n + 1))
	done < <(rows)
	[ "$n" -eq "$(rows | wc -l)" ]
}

@test "the same checkpoints, untouched, are fine" {
	local m
	for m in olmoe qwen3_moe; do
		"$BIN/moe-expertd" -n -m "$GOLDEN/$m" -i e1 \
			-l tcp:127.0.0.1:0 --experts all
	done
}
