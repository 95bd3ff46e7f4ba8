/* kern_avx512bf16.c - the AVX-512 variant is not written yet: never offered. */
#include "cpu.h"
const struct cpu_isa *
kern_avx512bf16_isa(void)
{
	return NULL;
}
