#!/usr/bin/env python3
"""Speed of llama.cpp (llama-cpp-python's library) on one GGUF file.

usage: llama_speed.py FILE.gguf THREADS STREAMS PROMPTS TOKENS DEPTH

STREAMS and PROMPTS are lists as in 1,4,8.  Prints lines of
    what streams prompt tok_s
decode: STREAMS sequences of 8 tokens each, TOKENS steps; prefill: one prompt;
deep: 512 tokens more after DEPTH (0: not measured).  Token ids are random, and
nothing is sampled.  A prompt of 512 goes before all, so that every weight has
been touched.
"""
import ctypes
import random
import sys
import time

import llama_cpp as ll

BATCH = 512


def batch_of(items):
    """items: (token, position, sequence, wants logits)."""
    b = ll.llama_batch_init(len(items), 0, 1)
    b.n_tokens = len(items)
    for i, (tok, pos, seq, want) in enumerate(items):
        b.token[i], b.pos[i] = tok, pos
        b.n_seq_id[i], b.seq_id[i][0] = 1, seq
        b.logits[i] = want
    return b


class Peer:
    def __init__(self, path, threads):
        self.threads = threads
        self.rng = random.Random(1)
        ll.llama_log_set(LOG, ctypes.c_void_p(0))
        ll.llama_backend_init()
        p = ll.llama_model_default_params()
        self.model = ll.llama_model_load_from_file(path.encode(), p)
        if not self.model:
            sys.exit(f"{path}: llama.cpp does not load it")
        self.vocab = ll.llama_vocab_n_tokens(
            ll.llama_model_get_vocab(self.model))

    def context(self, tokens, seqs):
        p = ll.llama_context_default_params()
        p.n_ctx, p.n_seq_max = tokens * seqs, seqs
        p.n_batch = p.n_ubatch = BATCH
        p.n_threads = p.n_threads_batch = self.threads
        ctx = ll.llama_init_from_model(self.model, p)
        if not ctx:
            sys.exit("llama.cpp gives no context")
        return ctx

    def token(self):
        return self.rng.randrange(self.vocab)

    def run(self, ctx, items):
        b = batch_of(items)
        rc = ll.llama_decode(ctx, b)
        ll.llama_synchronize(ctx)
        ll.llama_batch_free(b)
        if rc != 0:
            sys.exit(f"llama_decode: {rc}")

    def feed(self, ctx, begin, n):
        """n prompt tokens of sequence 0 from position begin; seconds."""
        t = time.perf_counter()
        for at in range(begin, begin + n, BATCH):
            end = min(at + BATCH, begin + n)
            self.run(ctx, [(self.token(), i, 0, i == begin + n - 1)
                           for i in range(at, end)])
        return time.perf_counter() - t

    def prefill(self, n, depth=0):
        ctx = self.context(depth + n + 16, 1)
        if depth:
            self.feed(ctx, 0, depth)
        t = self.feed(ctx, depth, n)
        ll.llama_free(ctx)
        return n / t

    def decode(self, streams, steps):
        ctx = self.context(8 + steps + 24, streams)
        self.run(ctx, [(self.token(), i, s, i == 7)
                       for s in range(streams) for i in range(8)])
        t = time.perf_counter()
        for k in range(steps):
            self.run(ctx, [(self.token(), 8 + k, s, 1)
                           for s in range(streams)])
        t = time.perf_counter() - t
        ll.llama_free(ctx)
        return streams * steps / t


@ll.llama_log_callback
def LOG(level, text, data):
    pass


def main():
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    path, threads, streams, prompts, steps, depth = sys.argv[1:]
    peer = Peer(path, int(threads))
    peer.prefill(512)
    for s in map(int, streams.split(",")):
        print("decode", s, 8, f"{peer.decode(s, int(steps)):.2f}", flush=True)
    for n in map(int, prompts.split(",")):
        print("prefill", 1, n, f"{peer.prefill(n):.2f}", flush=True)
    if int(depth):
        print("deep", 1, 512, f"{peer.prefill(512, int(depth)):.2f}",
              flush=True)


main()
