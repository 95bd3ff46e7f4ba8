/*
 * fuzz_http - the grammar of HTTP requests.  A head must parse the same whether
 * it came at once or byte by byte, and chunked bodies likewise.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "http_parse.h"
#include "mem.h"

#define MAX_BODY	4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t
end_by_bytes(const char *p, size_t n)
{
	size_t from = 0, i, end;

	for (i = 0; i <= n; i++)
		if ((end = http_parse_end(p, i, &from)) != 0)
			return end;
	return 0;
}

/* rc of the whole body; step is how many bytes come at a time. */
static int
run_chunks(const char *p, size_t n, size_t step, struct str *body,
    size_t *used_p)
{
	struct http_chunk c = { 0 };
	struct http_bad bad;
	size_t at = 0, k, used;
	int rc = 0;

	str_clear(body);
	while (at < n && rc == 0) {
		k = n - at < step ? n - at : step;
		rc = http_parse_chunk(&c, p + at, k, MAX_BODY, body, &used,
		    &bad);
		BUG_ON(used > k || (rc == 0 && used != k) || body->n > MAX_BODY);
		at += used;
	}
	*used_p = at;
	return rc;
}

static void
check_chunks(const char *p, size_t n)
{
	struct str a = STR_INIT, b = STR_INIT;
	size_t used_a, used_b;
	int rc_a = run_chunks(p, n, n + 1, &a, &used_a);
	int rc_b = run_chunks(p, n, 1, &b, &used_b);

	BUG_ON(rc_a != rc_b || used_a != used_b);
	if (rc_a >= 0)
		BUG_ON(a.n != b.n || memcmp(str_c(&a), str_c(&b), a.n) != 0);
	str_free(&a);
	str_free(&b);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	const char *p = (const char *)data;
	struct http_head h;
	struct http_bad bad = { 0 };
	size_t from = 0, end = http_parse_end(p, n, &from);

	BUG_ON(end != end_by_bytes(p, n));
	if (end == 0) {
		check_chunks(p, n);
		return 0;
	}
	if (http_parse_head(p, end, &h, &bad) != 0) {
		BUG_ON(bad.status < 400 || h.buf != NULL);
		return 0;
	}
	BUG_ON(h.path[0] != '/' && strcmp(h.path, "*") != 0);
	BUG_ON(h.minor != 0 && h.minor != 1);
	(void)http_parse_field(&h, "host");
	http_parse_free(&h);
	check_chunks(p + end, n - end);
	return 0;
}

#include "fuzz_main.h"
