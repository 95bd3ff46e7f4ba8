/* fuzz_keys - a key file: of HTTP clients, and of the cluster. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keys.h"
#include "link_sec.h"
#include "mem.h"
#include "str.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* The bytes as "fd:N"; the reader closes it. */
static char *
as_fd(const uint8_t *data, size_t n)
{
	int fd = memfd_create("keys", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, n) != (ssize_t)n ||
	    lseek(fd, 0, SEEK_SET) != 0)
		abort();
	return mem_printf("fd:%d", fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct link_sec s;
	struct keys *k;
	struct str header = STR_INIT;
	char *from = as_fd(data, n);

	if (keys_load(&k, from, NULL) == 0) {
		str_adds(&header, "Bearer ");
		str_add(&header, data, n);
		(void)keys_admit(k, str_c(&header));
		if (keys_n(k) == 0 || keys_admit(k, "Bearer "))
			abort();
		keys_free(k);
	}
	mem_free(from);
	str_free(&header);
	from = as_fd(data, n);
	if (link_sec_load(&s, from, LINK_TLS_AUTO, false, NULL) == 0 &&
	    (!s.psk || n < 32))
		abort();
	mem_free(from);
	return 0;
}

#include "fuzz_main.h"
