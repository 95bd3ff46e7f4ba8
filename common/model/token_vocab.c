/* token_vocab - strings to ids and back; see token_parts.h.  Floor F4. */
#include <string.h>

#include "token_parts.h"

/* FNV-1a, its high half folded in: the slots use the low bits. */
static uint32_t
hash(const char *s, size_t n)
{
	uint64_t h = 0xcbf29ce484222325ull;
	size_t i;

	for (i = 0; i < n; i++)
		h = (h ^ (uint8_t)s[i]) * 0x100000001b3ull;
	return (uint32_t)(h ^ h >> 32);
}

void
token_vocab_room(struct token_map *m, size_t n)
{
	uint32_t slots = 16;

	/* n is bounded by the file's size, so this ends. */
	while (slots < 2 * n)
		slots *= 2;
	m->ent = mem_calloc(n, sizeof(*m->ent));
	m->slot = mem_calloc(slots, sizeof(*m->slot));
	m->mask = slots - 1;
	m->n = 0;
}

/* The slot that holds s, or the free one where it would go. */
static uint32_t
seek(const struct token_vocab *v, const struct token_map *m, const char *s,
    size_t n)
{
	const struct token_entry *ent;
	uint32_t i = hash(s, n) & m->mask;

	for (; m->slot[i] != 0; i = (i + 1) & m->mask) {
		ent = &m->ent[m->slot[i] - 1];
		if (ent->len == n && memcmp(v->text.p + ent->at, s, n) == 0)
			break;
	}
	return i;
}

bool
token_vocab_put(struct token_vocab *v, struct token_map *m, const char *s,
    size_t n, uint32_t id)
{
	uint32_t i = seek(v, m, s, n);

	if (m->slot[i] != 0)
		return false;
	m->ent[m->n] = (struct token_entry){
	    .at = (uint32_t)v->text.n, .len = (uint32_t)n, .id = id };
	m->slot[i] = ++m->n;
	str_add(&v->text, s, n);
	str_addc(&v->text, '\0');
	if (id >= v->n)
		v->n = id + 1;
	return true;
}

uint32_t
token_vocab_find(const struct token_vocab *v, const struct token_map *m,
    const char *s, size_t n)
{
	uint32_t i;

	if (m->slot == NULL)
		return TOKEN_NONE;
	i = m->slot[seek(v, m, s, n)];
	return i != 0 ? m->ent[i - 1].id : TOKEN_NONE;
}

void
token_vocab_index(struct token_vocab *v)
{
	uint32_t i;

	v->piece = mem_calloc(v->n, sizeof(*v->piece));
	v->flag = mem_calloc(v->n, sizeof(*v->flag));
	for (i = 0; i < v->n; i++)
		v->piece[i] = TOKEN_NONE;
	for (i = 0; i < v->model.n; i++)
		v->piece[v->model.ent[i].id] = v->model.ent[i].at;
	for (i = 0; i < v->added.n; i++)
		v->piece[v->added.ent[i].id] = v->added.ent[i].at;
}

void
token_vocab_free(struct token_vocab *v)
{
	mem_free(v->model.ent);
	mem_free(v->model.slot);
	mem_free(v->added.ent);
	mem_free(v->added.slot);
	mem_free(v->piece);
	mem_free(v->flag);
	str_free(&v->text);
}
