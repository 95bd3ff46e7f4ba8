/* Fuzz target: a cluster file.  What parses must come back from its canonical
 * text unchanged. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cluster.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct str a = STR_INIT, b = STR_INIT;
	struct cluster *c, *d;
	struct err e = ERR_INIT;

	if (cluster_parse(&c, (const char *)data, n, "fuzz", &e) != 0)
		return 0;
	cluster_write(c, &a);
	if (cluster_parse(&d, str_c(&a), a.n, "again", &e) != 0)
		abort();
	cluster_write(d, &b);
	if (strcmp(str_c(&a), str_c(&b)) != 0)
		abort();
	cluster_free(c);
	cluster_free(d);
	str_free(&a);
	str_free(&b);
	return 0;
}

#include "fuzz_main.h"
