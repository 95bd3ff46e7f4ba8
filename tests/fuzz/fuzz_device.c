/* fuzz_device - tables of devices to emulate.  Every figure of one that is
 * taken is finite and above 0, so that times are, too. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "../../common/expert/device.c"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct emu_device d = { 0 };
	struct err e = ERR_INIT;
	void *copy;
	FILE *f;

	if (n == 0)
		return 0;
	copy = mem_dup(data, n);
	f = fmemopen(copy, n, "r");
	if (read_device(f, "fuzz", &d, &e) != 0) {
		if (e.text[0] == '\0')
			abort();
	} else if (!(emu_linear_us(&d, 4, 256, 256) >= 0) ||
	    !isfinite(emu_linear_us(&d, 4, 256, 256)) ||
	    !isfinite(emu_link_us(&d, 4096))) {
		abort();
	}
	fclose(f);
	mem_free(copy);
	return 0;
}

#include "fuzz_main.h"
