#!/usr/bin/env python3
"""Write the weights of an OLMoE checkpoint (safetensors, bf16) as GGUF.

usage: gguf_of.py CHECKPOINT OUT.gguf bf16|q8_0

Norms and the router are f32, as llama.cpp wants them.  There is no tokenizer
in the file: the comparison feeds token ids.  Tensors are read and written one
at a time, so the peak of memory is one layer's experts.
"""
import json
import pathlib
import struct
import sys

import gguf
import numpy as np

DIRECT = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate": "ffn_gate_inp",
}
EXPERT = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps",
          "down_proj": "ffn_down_exps"}


def tensors(folder):
    """name -> array of uint16 (bf16 bits), mapped from the files."""
    out = {}
    for path in sorted(folder.glob("*.safetensors")):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            head = json.loads(f.read(size))
        data = np.memmap(path, np.uint8, "r", offset=8 + size)
        for name, t in head.items():
            if name == "__metadata__":
                continue
            if t["dtype"] != "BF16":
                sys.exit(f"{path}: {name}: {t['dtype']}, want BF16")
            a, b = t["data_offsets"]
            out[name] = data[a:b].view(np.uint16).reshape(t["shape"])
    return out


def widened(bits):
    return (np.asarray(bits).astype(np.uint32) << 16).view(np.float32)


def plan(src, cfg):
    """(GGUF name, function that gives the bf16 bits) in order."""
    for hf, name in DIRECT.items():
        yield name, lambda hf=hf: src[hf]
    for i in range(cfg["num_hidden_layers"]):
        at = f"model.layers.{i}."
        for hf, name in LAYER.items():
            yield f"blk.{i}.{name}.weight", \
                lambda k=at + hf + ".weight": src[k]
        for hf, name in EXPERT.items():
            keys = [f"{at}mlp.experts.{e}.{hf}.weight"
                    for e in range(cfg["num_experts"])]
            yield f"blk.{i}.{name}.weight", \
                lambda keys=keys: np.stack([src[k] for k in keys])


def encoded(name, bits, kind):
    """The array as it stands in the file, and its GGUF type."""
    kinds = gguf.GGMLQuantizationType
    if bits.ndim == 1 or "ffn_gate_inp" in name:
        return widened(bits), kinds.F32
    if kind == "bf16":
        return np.ascontiguousarray(bits).view(np.uint8), kinds.BF16
    return gguf.quants.quantize(widened(bits), kinds.Q8_0), kinds.Q8_0


def encoded_shape(name, shape, kind):
    kinds = gguf.GGMLQuantizationType
    if len(shape) == 1 or "ffn_gate_inp" in name:
        return shape, kinds.F32, np.dtype(np.float32)
    k = kinds.BF16 if kind == "bf16" else kinds.Q8_0
    return gguf.quant_shape_to_byte_shape(shape, k), k, np.dtype(np.uint8)


def shape_of(src, cfg, name):
    for hf, to in DIRECT.items():
        if name == to:
            return src[hf].shape
    i, part = name.split(".")[1:3]
    for hf, to in LAYER.items():
        if part == to:
            return src[f"model.layers.{i}.{hf}.weight"].shape
    hf = [h for h, to in EXPERT.items() if to == part][0]
    one = src[f"model.layers.{i}.mlp.experts.0.{hf}.weight"].shape
    return (cfg["num_experts"], *one)


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in ("bf16", "q8_0"):
        sys.exit(__doc__)
    folder, out, kind = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    cfg = json.loads((folder / "config.json").read_text())
    if cfg["model_type"] != "olmoe":
        sys.exit(f"{folder}: model_type {cfg['model_type']}, want olmoe")
    src = tensors(folder)
    w = gguf.GGUFWriter(out, "olmoe")
    w.add_context_length(cfg["max_position_embeddings"])
    w.add_embedding_length(cfg["hidden_size"])
    w.add_block_count(cfg["num_hidden_layers"])
    w.add_feed_forward_length(cfg["intermediate_size"])
    w.add_head_count(cfg["num_attention_heads"])
    w.add_head_count_kv(cfg["num_key_value_heads"])
    w.add_layer_norm_rms_eps(cfg["rms_norm_eps"])
    w.add_rope_freq_base(cfg["rope_theta"])
    w.add_expert_count(cfg["num_experts"])
    w.add_expert_used_count(cfg["num_experts_per_tok"])
    w.add_tokenizer_model("none")
    w.add_vocab_size(cfg["vocab_size"])
    for name, _ in plan(src, cfg):
        shape, k, dtype = encoded_shape(name, shape_of(src, cfg, name), kind)
        w.add_tensor_info(name, shape, dtype,
                          int(np.prod(shape)) * dtype.itemsize, k)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_ti_data_to_file()
    for name, bits in plan(src, cfg):
        w.write_tensor_data(encoded(name, bits(), kind)[0])
    w.close()


main()
