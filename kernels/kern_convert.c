/* kern_convert.c - conversion between number formats: plain C. */
#include "kern.h"

#include <string.h>

#include "kern_impl.h"
#include "kern_num.h"

static float
load(const void *src, enum kern_dtype t, size_t i)
{
	const char *p = (const char *)src + kern_dtype_bytes(t, i);
	uint16_t h;
	float f;

	if (t == KERN_F32) {
		memcpy(&f, p, sizeof(f));
		return f;
	}
	memcpy(&h, p, sizeof(h));
	return t == KERN_BF16 ? kern_num_from_bf16(h) : kern_num_from_f16(h);
}

static void
store(void *dst, enum kern_dtype t, size_t i, float f)
{
	char *p = (char *)dst + kern_dtype_bytes(t, i);
	uint16_t h;

	if (t == KERN_F32) {
		memcpy(p, &f, sizeof(f));
		return;
	}
	h = t == KERN_BF16 ? kern_num_to_bf16(f) : kern_num_to_f16(f);
	memcpy(p, &h, sizeof(h));
}

static bool
is_plain(enum kern_dtype t)
{
	return t == KERN_F32 || t == KERN_F16 || t == KERN_BF16;
}

void
kern_convert(void *dst, enum kern_dtype dt, const void *src,
    enum kern_dtype st, size_t n)
{
	size_t i;

	KERN_CHECK(is_plain(dt) && is_plain(st));
	if (n == 0)
		return;
	if (dt == st) {
		memmove(dst, src, kern_dtype_bytes(st, n));
		return;
	}
	for (i = 0; i < n; i++)
		store(dst, dt, i, load(src, st, i));
}
