/* test_q8.c over the imitated AVX-512 variant with VNNI. */
#include "avx512_emul.h"

#include "../../kernels/cpu/kern_avx512bf16.c"
#include "../../kernels/cpu/kern_avx512vnni.c"

#include "test_q8.c"
