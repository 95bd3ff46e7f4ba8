/* token - the small questions to a loaded tokenizer; see token.h.  Floor F4. */
#include <string.h>

#include "token_parts.h"

uint32_t
token_vocab_size(const struct token *t)
{
	return t->vocab.n;
}

int32_t
token_bos(const struct token *t)
{
	return t->bos;
}

int32_t
token_eos(const struct token *t)
{
	return t->eos;
}

int32_t
token_pad(const struct token *t)
{
	return t->pad;
}

int32_t
token_id(const struct token *t, const char *text)
{
	size_t n = strlen(text);
	uint32_t id = token_vocab_find(&t->vocab, &t->vocab.added, text, n);

	if (id == TOKEN_NONE)
		id = token_vocab_find(&t->vocab, &t->vocab.model, text, n);
	return id == TOKEN_NONE ? -1 : (int32_t)id;
}

const char *
token_piece(const struct token *t, uint32_t id)
{
	if (id >= t->vocab.n || t->vocab.piece[id] == TOKEN_NONE)
		return NULL;
	return t->vocab.text.p + t->vocab.piece[id];
}

const char *
token_piece_bytes(const struct token *t, uint32_t id, size_t *n_p)
{
	if (id >= t->vocab.n) {
		*n_p = 0;
		return "";
	}
	*n_p = t->out.at[id + 1] - t->out.at[id];
	return t->out.bytes.p + t->out.at[id];
}

bool
token_is_special(const struct token *t, uint32_t id)
{
	return id < t->vocab.n && (t->vocab.flag[id] & TOKEN_F_SPECIAL);
}

bool
token_is_control(const struct token *t, uint32_t id)
{
	return id < t->vocab.n && (t->vocab.flag[id] & TOKEN_F_CONTROL);
}

void
token_decode(const struct token *t, const uint32_t *ids, size_t n,
    bool skip_special, struct str *out)
{
	struct token_stream st;
	size_t i;

	token_stream_init(&st, t, skip_special);
	for (i = 0; i < n; i++)
		token_stream_put(&st, ids[i], out);
	token_stream_end(&st, out);
	token_stream_free(&st);
}

void
token_free(struct token *t)
{
	if (t == NULL)
		return;
	token_added_free(&t->raw);
	token_added_free(&t->normal);
	token_norm_free(&t->norm);
	token_split_free(&t->split);
	token_bpe_free(&t->bpe);
	token_stream_drop(&t->out);
	token_vocab_free(&t->vocab);
	VEC_FREE(&t->before);
	VEC_FREE(&t->after);
	mem_free(t->name);
	mem_free(t);
}
