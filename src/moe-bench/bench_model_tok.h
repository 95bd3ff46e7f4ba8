/* bench_model_tok - the tokenizer of `moe-bench model`. */
#ifndef MOE_BENCH_MODEL_TOK_H
#define MOE_BENCH_MODEL_TOK_H

#include "str.h"

/*
 * Append tokenizer.json: byte-level BPE with exactly vocab ids, each of which
 * decodes to something: 0-255 the bytes, 256-258 <|endoftext|>, <|im_start|>,
 * <|im_end|>, then pairs and triples of printable ASCII.  vocab >= 259.
 */
void	bench_model_tok_json(int vocab, struct str *out);
/* Append tokenizer_config.json, with a ChatML template. */
void	bench_model_tok_config(struct str *out);

#endif
