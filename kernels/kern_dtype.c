/* kern_dtype.c - names and sizes of number formats. */
#include "kern.h"

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
