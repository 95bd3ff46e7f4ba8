/* Fuzz target: a drill file. */
#include <stdint.h>
#include <stdlib.h>

#include "../../src/moe-failsim/fs_drill.c"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct fs_drill *d;
	struct err e = ERR_INIT;
	size_t i;

	if (fs_drill_parse(&d, (const char *)data, n, "fuzz", &e) != 0)
		return 0;
	if (d->n_step == 0 || d->requests < 1 || d->streams < 1)
		abort();
	for (i = 0; i < d->n_step; i++)
		if (d->step[i].count < 1 || (d->step[i].who[0] == '\0' &&
		    d->step[i].action != FS_LOAD &&
		    d->step[i].action != FS_DO) ||
		    fs_drill_action_name(d->step[i].action) == NULL)
			abort();
	fs_drill_free(d);
	return 0;
}

#include "fuzz_main.h"
