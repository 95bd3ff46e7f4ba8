/* kern_dtype.c - names, sizes and conversions of number formats: plain C. */
#include "kern.h"

#include <string.h>

#include "kern_impl.h"
#include "kern_num.h"

size_t
kern_dtype_bytes(enum kern_dtype t, size_t n)
{
	switch (t) {
	case KERN_F32:
		return 4 * n;
	case KERN_F16:
	case KERN_BF16:
		return 2 * n;
	case KERN_F8E4M3:
		return n;
	case KERN_Q8:
	case KERN_MXFP4:
		break;
	}
	return 0;
}

const char *
kern_dtype_name(enum kern_dtype t)
{
	switch (t) {
	case KERN_F32:
		return "f32";
	case KERN_F16:
		return "f16";
	case KERN_BF16:
		return "bf16";
	case KERN_Q8:
		return "q8";
	case KERN_F8E4M3:
		return "f8e4m3";
	case KERN_MXFP4:
		return "mxfp4";
	}
	return "?";
}

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
