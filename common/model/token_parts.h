/*
 * token_parts - what the files of the tokenizer share: the loaded tables and
 * the state of one call of token_encode.  Private to token_*.c; floor F4.
 *
 * The way of a text:  token_added (cut out added tokens that match raw text)
 * -> token_norm (normalize each rest) -> token_added (those that match
 * normalized text) -> token_split (pre-tokenize) -> token_bpe (ids).
 */
#ifndef MOE_TOKEN_PARTS_H
#define MOE_TOKEN_PARTS_H

#include <jansson.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "json.h"
#include "mem.h"
#include "token.h"

#define TOKEN_NONE		UINT32_MAX
#define TOKEN_FILE_BYTES	((size_t)256 << 20)
#define TOKEN_TEXT_BYTES	((size_t)1 << 30)
#define TOKEN_IDS		((uint32_t)1 << 21)	/* ids are below this */
#define TOKEN_STEPS		64	/* normalizers, pre-tokenizers, ... */

/* ---- token_vocab.c: strings and ids -------------------------------------- */

struct token_entry {
	uint32_t at, len;		/* the string, in vocab.text */
	uint32_t id;
};

/* String -> id, open addressing; slot holds an index of ent + 1, 0 if free. */
struct token_map {
	struct token_entry *ent;
	uint32_t n, mask;
	uint32_t *slot;
};

enum token_flag {
	TOKEN_F_SPECIAL = 1,
	TOKEN_F_CONTROL = 2,
	TOKEN_F_BYTE = 4,		/* decodes as a byte of a <0xNN> run */
};

struct token_vocab {
	struct str text;		/* all strings, each with its NUL */
	struct token_map model, added;
	uint32_t n;			/* highest id + 1 */
	uint32_t *piece;		/* per id: place in text or TOKEN_NONE */
	uint8_t *flag;			/* per id: enum token_flag */
};

/* Room for n entries, to be filled in by token_vocab_put. */
void	token_vocab_room(struct token_map *m, size_t n);
/* Add (string, id); false when the string is there already.  The string is
 * copied to v->text. */
bool	token_vocab_put(struct token_vocab *v, struct token_map *m,
	    const char *s, size_t n, uint32_t id);
/* TOKEN_NONE if absent. */
uint32_t token_vocab_find(const struct token_vocab *v,
	    const struct token_map *m, const char *s, size_t n);
/* Make piece and flag, once both maps are full; added strings win. */
void	token_vocab_index(struct token_vocab *v);
void	token_vocab_free(struct token_vocab *v);

/* ---- token_bytes.c: the byte-level alphabet ------------------------------ */

/* GPT-2's printable stand-in for a byte: a code point below U+0144. */
unsigned token_bytes_stand_in(uint8_t byte);
/* Append the bytes that the n stand-ins at s mean; if any character is none,
 * the string itself (as the library does for added tokens). */
void	token_bytes_decode(const char *s, size_t n, struct str *out);

/* ---- token_regex.c: regular expressions ---------------------------------- */

/* Compile; where and field are for the error.  A literal is taken as it is. */
pcre2_code *token_regex_compile(const char *pattern, bool literal,
	    const struct json_src *src, const char *key);

/* Per call: match data and a stack for the compiled code. */
struct token_regex {
	pcre2_match_data *data;
	pcre2_match_context *ctx;
	pcre2_jit_stack *stack;
};
void	token_regex_open(struct token_regex *r);
void	token_regex_close(struct token_regex *r);
/* First match in p[0..n) from off on: 1 and *m, 0 none, -1 and e. */
int	token_regex_next(struct token_regex *r, const pcre2_code *code,
	    const char *p, size_t n, size_t off, struct token_span *m,
	    struct err *e);

/* ---- token_norm.c: normalizers ------------------------------------------- */

enum token_norm_kind { TOKEN_NFC, TOKEN_PREPEND, TOKEN_REPLACE };

struct token_norm_step {
	enum token_norm_kind kind;
	char *from, *to;
};

struct token_norm {
	struct token_norm_step *p;
	size_t n, cap;
};

/* Text with, per byte, whether user text had a part in it ('\1') or not
 * ('\0'); mask is empty where nobody asks. */
struct token_masked {
	struct str text, mask;
};

/* Add the steps of a normalizer object. */
int	token_norm_read(struct token_norm *norm, const struct json_src *src);
/* Replace *m by its normal form. */
int	token_norm_run(const struct token_norm *norm, struct token_masked *m,
	    struct err *e);
void	token_norm_free(struct token_norm *norm);

/* ---- token_added.c: added tokens ----------------------------------------- */

struct token_add {
	struct str content;		/* as it is matched */
	uint32_t id;
	bool single_word, lstrip, rstrip, normalized, special;
};

/* A set to match, sorted by content. */
struct token_adds {
	struct token_add *p;
	size_t n, cap;
	bool first[256];		/* bytes that a content begins with */
};

/* Read the array added_tokens into the vocabulary's map and the two sets. */
int	token_added_read(struct token *t, const json_t *list, struct err *e);
/* Sort both sets, the second with its contents normalized; set the flags. */
int	token_added_ready(struct token *t, struct err *e);
void	token_added_free(struct token_adds *s);

/* Where to look, and what may match. */
struct token_hunt {
	const struct token_adds *set;
	const uint8_t *flag;		/* the vocabulary's */
	const char *p, *mask;		/* mask NULL: all bytes are trusted */
	size_t n;
	bool control;			/* may control tokens match? */
};
struct token_hit {
	size_t begin, end;		/* with the white space it swallows */
	uint32_t id;
};
/* The next match at or after from: false when there is none. */
bool	token_added_next(const struct token_hunt *h, size_t from,
	    struct token_hit *hit);

/* ---- token_split.c: pre-tokenizers --------------------------------------- */

enum token_behavior {
	TOKEN_REMOVED, TOKEN_ISOLATED, TOKEN_WITH_PREVIOUS, TOKEN_WITH_NEXT,
	TOKEN_CONTIGUOUS,
};

enum token_scheme { TOKEN_ALWAYS, TOKEN_FIRST, TOKEN_NEVER };

struct token_split_step {
	pcre2_code *code;		/* NULL: a step that rewrites text */
	enum token_behavior behavior;
	bool invert;
	char *space;			/* rewrites: what replaces ' ', ... */
	enum token_scheme scheme;	/* ... and is put in front, when */
};

struct token_split {
	struct token_split_step *p;
	size_t n, cap;
	bool byte_level;		/* pieces go to BPE as bytes */
};

/* Pieces of a text, in order. */
struct token_pieces {
	struct str text;
	struct token_span *p;
	size_t n, cap;
};

/* Add the steps of a pre_tokenizer object. */
int	token_split_read(struct token_split *s, const struct json_src *src);
/* Cut pc->text, whose one piece is the whole; at_start: it begins where the
 * user's text begins.  spare is scratch. */
int	token_split_run(const struct token_split *s, struct token_regex *r,
	    bool at_start, struct token_pieces *pc, struct token_pieces *spare,
	    struct err *e);
void	token_split_free(struct token_split *s);

/* ---- token_bpe.c: byte-pair encoding ------------------------------------- */

struct token_merge {
	uint32_t left, right;
	uint32_t rank, id;		/* id TOKEN_NONE: a free slot */
};

struct token_bpe {
	struct token_merge *merge;	/* hash table by (left, right) */
	uint32_t mask;
	uint32_t byte[256];		/* byte-level: id of the stand-in */
	uint32_t fallback[256];		/* <0xNN> */
	uint32_t unk;			/* TOKEN_NONE: drop the character */
	bool byte_fallback, fuse_unk, ignore_merges, byte_level;
	bool cut_words;			/* no merge spans x + U+2581 */
};

struct token_bpe_sym {
	uint32_t id, pair;		/* pair: id when merged with the next */
	uint32_t prev, next;		/* TOKEN_NONE at the ends */
};
struct token_bpe_cand {
	uint64_t key;			/* rank << 32 | position */
	uint32_t id;
};
struct token_bpe_work {			/* scratch of one call */
	VEC(struct token_bpe_sym) sym;
	VEC(struct token_bpe_cand) heap;
	struct str text;
};

/* Read the merges and the switches of the model object; the vocabulary with
 * its flags must be ready. */
int	token_bpe_read(struct token *t, const struct json_src *model);
/* Append the ids of the piece p[0..n). */
void	token_bpe_run(const struct token *t, struct token_bpe_work *w,
	    const char *p, size_t n, struct token_ids *out);
void	token_bpe_free(struct token_bpe *b);
void	token_bpe_work_free(struct token_bpe_work *w);

/* ---- token_stream.c: decoding -------------------------------------------- */

struct token_out {
	bool byte_level, byte_fallback;
	struct token_norm replace;	/* at load only */
	char strip[8];			/* one character, NUL-terminated */
	uint32_t n_strip;
	struct str bytes;		/* of all ids, back to back */
	uint32_t *at;			/* vocab.n + 1 offsets into bytes */
};

/* Read the decoder object, then make the bytes of each id. */
int	token_stream_read(struct token *t, const struct json_src *src);
void	token_stream_index(struct token *t);
void	token_stream_drop(struct token_out *o);

/* ---- token_post.c: what add_special adds --------------------------------- */

/* Read the post_processor object (TemplateProcessing) into before, after. */
int	token_post_read(struct token *t, const struct json_src *src);
/* bos, eos, pad and the Llama class's add_bos_token, from the small files. */
int	token_post_config(struct token *t, const json_t *config,
	    const json_t *map, struct err *e);

struct token {
	char *name;
	struct token_vocab vocab;
	struct token_adds raw, normal;	/* match raw, normalized text */
	struct token_norm norm;
	struct token_split split;
	struct token_bpe bpe;
	struct token_out out;
	struct token_ids before, after;
	int32_t bos, eos, pad;
};

/* Value of "type" of an object; NULL and an error if it is missing. */
const char *token_load_type(const struct json_src *src);

/*
 * Call each with every object of the array src->obj[key], at[] extended by
 * the index; what a Sequence does.
 */
typedef int token_load_fn(void *arg, const struct json_src *src);
int	token_load_each(const struct json_src *src, const char *key,
	    token_load_fn *each, void *arg);

#endif
