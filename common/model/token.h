/*
 * token - text to token ids and back, as a checkpoint's tokenizer.json says.
 *
 * Floor F4.  Reads the tokenizer.json format of the `tokenizers` library:
 * added tokens, normalizer (NFC, Prepend, Replace, Sequence), pre-tokenizer
 * (Split, ByteLevel, Digits, Metaspace, Sequence), model BPE, post-processor
 * (ByteLevel, TemplateProcessing, Sequence), decoder (ByteLevel, or a Sequence
 * of Replace, ByteFallback, Fuse, Strip).  Whatever else a file asks for is
 * refused at load with ERR_DATA, naming the file and the field: a tokenizer
 * that is nearly right gives wrong answers that nobody can see.
 *
 * Threads: a struct token does not change after token_load; any number of
 * threads may encode and decode with it.  A struct token_stream has one owner.
 *
 * Known differences from the library, all rare: the regular expressions and
 * NFC use the Unicode tables of PCRE2 and utf8proc, which may be older; under
 * \s also U+180E counts as white space; text that is not UTF-8 is an error.
 */
#ifndef MOE_TOKEN_H
#define MOE_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "str.h"

struct token;

/* ---- loading ------------------------------------------------------------- */

/*
 * Read DIR/tokenizer.json and, where present, DIR/tokenizer_config.json and
 * DIR/special_tokens_map.json (for the bos, eos and pad strings; the config's
 * word comes first).  *out is set only on success; token_free it.
 */
int	token_load(struct token **out, const char *dir, struct err *e);

/* The same from memory; name stands for the folder in error texts. */
struct token_source {
	const char *name;
	const char *json;		/* tokenizer.json */
	size_t n_json;
	const char *config;		/* tokenizer_config.json, or NULL */
	size_t n_config;
	const char *map;		/* special_tokens_map.json, or NULL */
	size_t n_map;
};
int	token_load_text(struct token **out, const struct token_source *src,
	    struct err *e);
void	token_free(struct token *t);	/* NULL is fine */

/* ---- the vocabulary ------------------------------------------------------ */

/* Highest id + 1.  A model's logits may be longer (padded): such ids, and
 * holes, stand for nothing and decode to "". */
uint32_t token_vocab_size(const struct token *t);

/* -1 where the model names none (pad: or one that the vocabulary lacks). */
int32_t	token_bos(const struct token *t);
int32_t	token_eos(const struct token *t);
int32_t	token_pad(const struct token *t);

/* The id whose vocabulary string is exactly text ("<|im_end|>"); -1 if none.
 * Added tokens are found first. */
int32_t	token_id(const struct token *t, const char *text);

/* The vocabulary string of id ("Ġthe"); NULL for an id that has none. */
const char *token_piece(const struct token *t, uint32_t id);

/* The bytes that id stands for in decoded text (" the"), *n_p of them: part of
 * a UTF-8 character for some, one byte for <0xNN>.  Never NULL; empty for an
 * id that has none.  Not NUL-terminated. */
const char *token_piece_bytes(const struct token *t, uint32_t id, size_t *n_p);

/* Added with special = true: what skip_special leaves out. */
bool	token_is_special(const struct token *t, uint32_t id);

/*
 * A control token: one that steers the model and that user text must never
 * become.  Any added token with special = true, and any with special = false
 * that has the form of one, <...> or [...] (DeepSeek's <｜User｜>, Qwen's
 * <tool_call>), except for tokens of white space only.
 */
bool	token_is_control(const struct token *t, uint32_t id);

/* ---- encoding ------------------------------------------------------------ */

struct token_ids {			/* VEC_PUSH and VEC_FREE work on it */
	uint32_t *p;
	size_t n, cap;
};

struct token_span {
	size_t begin, end;		/* bytes of the text, end excluded */
};

/*
 * Which added tokens match where:
 *
 *                          parse_special   parse_special   text inside an
 *                          = true          = false         untrusted span
 *   control tokens         match           never           never
 *   other added tokens     match           match           match
 *
 * A control token that only partly overlaps an untrusted span does not match
 * either; a shorter token at the same place may.  Moreover BPE itself never
 * yields a control token's id (merges that lead to one are ignored), so the
 * promise is: no id of a control token comes out of user text, that is, of any
 * text with parse_special = false or of an untrusted span.  The one exception
 * is the model's unk_token, for characters that its vocabulary cannot write.
 * With parse_special = true and no spans the ids equal those of the library.
 *
 * White space next to an lstrip or rstrip token belongs to that token, even
 * where the white space is untrusted, as in the library.
 */
struct token_text {
	const char *p;			/* valid UTF-8 */
	size_t n;			/* at most 1 GiB */
	bool add_special;		/* apply the post-processor (BOS ...) */
	bool parse_special;
	const struct token_span *untrusted;	/* sorted, disjoint */
	size_t n_untrusted;
};

/*
 * Append the ids of in to out.  ERR_DATA for text that is not UTF-8 or when a
 * regular expression gives up; ERR_USAGE for spans that are out of order or
 * beyond the text; out->n is then as it was.
 *
 * add_special follows the file's post-processor; a Llama tokenizer whose
 * tokenizer_config.json says add_bos_token / add_eos_token has these added
 * where the post-processor adds none, as its Python class does.  A rendered
 * chat template already holds its BOS: leave add_special off for it.
 */
int	token_encode(const struct token *t, const struct token_text *in,
	    struct token_ids *out, struct err *e);

/* ---- decoding ------------------------------------------------------------ */

/*
 * Ids to text, one by one.  What put and end append, one after the other, is
 * what token_decode gives for all the ids.  put appends only bytes that no
 * later id can change: whole UTF-8 characters; a run of <0xNN> tokens when it
 * has ended.  Bytes that are not UTF-8 become U+FFFD.
 */
struct token_stream {
	const struct token *t;		/* must outlive the stream */
	bool skip_special;
	uint32_t strip_left;		/* leading strips still to be done */
	struct str held;		/* bytes that are not certain yet */
};

void	token_stream_init(struct token_stream *st, const struct token *t,
	    bool skip_special);
void	token_stream_put(struct token_stream *st, uint32_t id,
	    struct str *out);
/* Append what is still held, and start anew: the next put begins a text. */
void	token_stream_end(struct token_stream *st, struct str *out);
void	token_stream_free(struct token_stream *st);

/* Append the text of n ids to out.  Cannot fail: unknown ids are "". */
void	token_decode(const struct token *t, const uint32_t *ids, size_t n,
	    bool skip_special, struct str *out);

#endif
