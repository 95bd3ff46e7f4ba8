/* fuzz_addr - an address as somebody may write it: parsed, written, parsed to
 * the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr.h"
#include "link.h"
#include "mem.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *text = mem_zalloc(n + 1), out[ADDR_TEXT];
	struct err err = ERR_INIT;
	struct addr a, b;

	memcpy(text, data, n);
	if (addr_parse(text, &a, &err) == 0) {
		addr_text(&a, out);
		if (addr_parse(out, &b, &err) != 0 || b.faulty ||
		    a.kind != b.kind || a.port != b.port ||
		    strcmp(a.path, b.path) != 0 || strcmp(a.host, b.host) != 0)
			abort();
	} else if (err.code != ERR_USAGE || err.text[0] == '\0') {
		abort();
	}
	(void)link_addr_check(text, &err);
	mem_free(text);
	return 0;
}

#include "fuzz_main.h"
