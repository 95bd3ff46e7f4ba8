/* fuzz_safetensors - any bytes as a .safetensors file: no crash, and what is
 * accepted lies within the file. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ckpt_safetensors.h"
#include "err.h"
#include "mem.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int fd = -1;
	struct ckpt_tensors t = { 0 };
	struct err e = ERR_INIT;
	size_t i;
	int rc;

	if (fd < 0)
		fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, 0) != 0 ||
	    pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	rc = ckpt_safetensors_read(fd, "fuzz", 0, &t, &e);
	if (rc != 0 && (e.code == 0 || e.text[0] == '\0'))
		abort();
	for (i = 0; i < t.n; i++) {
		if (rc == 0 && (t.p[i].offset > size ||
		    t.p[i].bytes > size - t.p[i].offset))
			abort();
		mem_free((void *)(uintptr_t)t.p[i].name);
	}
	VEC_FREE(&t);
	return 0;
}

#include "fuzz_main.h"
