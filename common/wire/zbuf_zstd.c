/* zbuf_zstd.c - F1.  Packing with libzstd; no state, any thread. */
#include <zstd.h>

#include "mem.h"
#include "zbuf.h"

#define LEVEL	3	/* text shrinks 5-10 times at several 100 MB/s */

bool
zbuf_have(void)
{
	return true;
}

bool
zbuf_pack(struct str *out, const void *p, size_t n)
{
	size_t room = ZSTD_compressBound(n), got;
	char *tmp = mem_alloc(room);
	bool good;

	got = ZSTD_compress(tmp, room, p, n, LEVEL);
	good = !ZSTD_isError(got) && got < n;
	if (good)
		str_add(out, tmp, got);
	mem_free(tmp);
	return good;
}

int
zbuf_unpack(struct str *out, const void *p, size_t n, size_t raw,
    struct err *err)
{
	char *tmp = mem_alloc(raw);
	size_t got = ZSTD_decompress(tmp, raw, p, n);
	int rc = 0;

	if (ZSTD_isError(got))
		rc = err_set(err, ERR_DATA, "packed body: %s",
		    ZSTD_getErrorName(got));
	else if (got != raw)
		rc = err_set(err, ERR_DATA, "packed body: %zu bytes, want %zu",
		    got, raw);
	else
		str_add(out, tmp, raw);
	mem_free(tmp);
	return rc;
}
