/* at_page_msg - see at_page_msg.h. */
#include "at_page_msg.h"

#include <string.h>

#include "buf.h"

#define TOK_BYTES	((size_t)KERN_PAGE_TOK * 4)
#define ACK_HEAD	16
#define ACK_ITEM	16

static size_t
page_bytes(const struct at_page_shape *s)
{
	return TOK_BYTES + (size_t)s->n_layer * s->layer_bytes;
}

size_t
at_page_msg_bytes(const struct at_page_shape *s, int n)
{
	return AT_PAGE_HEAD + (size_t)n * page_bytes(s);
}

void
at_page_msg_put(struct str *out, const struct at_page_shape *s,
    const struct at_page_run *r, const uint32_t *tok)
{
	int i;

	buf_put64(out, r->seq);
	buf_put64(out, r->before.id);
	buf_put32(out, (uint32_t)r->before.page);
	buf_put16(out, (uint16_t)r->n);
	buf_put16(out, KERN_PAGE_TOK);
	buf_put32(out, (uint32_t)s->n_layer);
	buf_put32(out, (uint32_t)s->layer_bytes);
	for (i = 0; i < r->n * KERN_PAGE_TOK; i++)
		buf_put32(out, tok[i]);
}

/* A page number of a peer; one that cannot be is as good as a wrong one. */
static int32_t
page_number(uint32_t v)
{
	return v > INT32_MAX ? -1 : (int32_t)v;
}

int
at_page_msg_get(const void *p, size_t n, const struct at_page_shape *s,
    struct at_page_run *r, struct err *err)
{
	uint32_t tok, layers, bytes;
	struct buf b;

	buf_init(&b, p, n);
	r->seq = buf_u64(&b);
	r->before.id = buf_u64(&b);
	r->before.page = page_number(buf_u32(&b));
	r->n = buf_u16(&b);
	tok = buf_u16(&b);
	layers = buf_u32(&b);
	bytes = buf_u32(&b);
	if (b.bad)
		return err_set(err, ERR_DATA, "pages: %zu bytes are no head",
		    n);
	if (tok != KERN_PAGE_TOK || layers != (uint32_t)s->n_layer ||
	    bytes != s->layer_bytes)
		return err_set(err, ERR_DATA, "pages: of %u tokens, %u layers "
		    "and %u bytes; here %d, %d and %zu", tok, layers, bytes,
		    KERN_PAGE_TOK, s->n_layer, s->layer_bytes);
	if (r->n < 1 || r->n > AT_PAGE_RUN ||
	    n != at_page_msg_bytes(s, r->n))
		return err_set(err, ERR_DATA, "pages: %d of them in %zu bytes",
		    r->n, n);
	r->tok = buf_bytes(&b, (size_t)r->n * TOK_BYTES);
	r->data = buf_bytes(&b, b.n);
	return 0;
}

void
at_page_ack_put(struct str *out, const struct at_page_ack *a)
{
	int i;

	buf_put64(out, a->seq);
	buf_put16(out, (uint16_t)a->status);
	buf_put16(out, (uint16_t)a->n);
	buf_put32(out, 0);
	for (i = 0; i < a->n; i++) {
		buf_put64(out, a->page[i].id);
		buf_put32(out, (uint32_t)a->page[i].page);
		buf_put32(out, 0);
	}
}

int
at_page_ack_get(const void *p, size_t n, struct at_page_ack *a,
    struct err *err)
{
	unsigned status;
	struct buf b;
	int i;

	buf_init(&b, p, n);
	a->seq = buf_u64(&b);
	status = buf_u16(&b);
	a->n = buf_u16(&b);
	(void)buf_u32(&b);
	if (b.bad || status > AT_PAGE_FULL || a->n > AT_PAGE_RUN ||
	    n != ACK_HEAD + (size_t)a->n * ACK_ITEM)
		return err_set(err, ERR_DATA, "pages: status %u for %d of them "
		    "in %zu bytes", status, a->n, n);
	a->status = (enum at_page_status)status;
	for (i = 0; i < a->n; i++) {
		a->page[i].id = buf_u64(&b);
		a->page[i].page = page_number(buf_u32(&b));
		(void)buf_u32(&b);
		if (a->page[i].id == 0)
			return err_set(err, ERR_DATA, "pages: one without an "
			    "id");
	}
	return 0;
}
