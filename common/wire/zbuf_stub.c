/* zbuf_stub.c - F1.  A build without zstd: nothing is packed. */
#include "zbuf.h"

bool
zbuf_have(void)
{
	return false;
}

bool
zbuf_pack(struct str *out, const void *p, size_t n)
{
	(void)out;
	(void)p;
	(void)n;
	return false;
}

int
zbuf_unpack(struct str *out, const void *p, size_t n, size_t raw,
    struct err *err)
{
	(void)out;
	(void)p;
	(void)n;
	(void)raw;
	return err_set(err, ERR_UNAVAIL, "packed body: zstd is not in this "
	    "build");
}
