/* moe-bench - measures: kernels, links, servers; writes checkpoints for it. */
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "bench_gen.h"
#include "bench_kern.h"
#include "bench_link.h"
#include "bench_model.h"
#include "cli.h"
#include "err.h"

/* Verbs of the contract that a later version brings. */
static int
not_yet(int argc, char **argv)
{
	(void)argc;
	fprintf(stderr, "moe-bench: %s is not in this version\n", argv[0]);
	return ERR_UNAVAIL;
}

int
main(int argc, char **argv)
{
	static const struct cli_verb verb[] = {
		{ "drive", "load an OpenAI server, open loop, and measure",
		    bench_drive_main },
		{ "gen", "draw arrivals, lengths or routing",
		    bench_gen_main },
		{ "kern", "measure the kernels against this machine's limits",
		    bench_kern_main },
		{ "link", "measure round trips of a transport",
		    bench_link_main },
		{ "model", "write a checkpoint with random weights",
		    bench_model_main },
		{ NULL, NULL, NULL },
	};
	static const char *const later[] = { "plot", NULL };
	int i;

	for (i = 0; argc > 1 && later[i] != NULL; i++)
		if (strcmp(argv[1], later[i]) == 0)
			return not_yet(argc - 1, argv + 1);
	return cli_verbs("moe-bench",
	    "Measure kernels, links and servers.", verb, argc, argv);
}
