/* moe-route - the control path: registry, map, and filters on them. */
#include <stdio.h>
#include <string.h>

#include "cli.h"
#include "err.h"
#include "front.h"
#include "rt.h"

/* Verbs of the contract that a later version brings. */
static int
not_yet(const char *verb)
{
	fprintf(stderr, "moe-route: %s is not in this version\n", verb);
	return ERR_UNAVAIL;
}

int
main(int argc, char **argv)
{
	static const struct cli_verb verb[] = {
		{ "serve", "keep registry, health and map of a cluster",
		    rt_serve_main },
		{ "status", "print the members of a cluster", rt_status_main },
		{ "top", "show the load of members, again and again",
		    rt_top_main },
		{ "move", "move experts between servers", rt_move_main },
		{ "drain", "take a member out of service", rt_drain_main },
		{ "dead", "declare an expert server dead", rt_dead_main },
		{ "apply", "make a map the cluster's", rt_apply_main },
		{ "plan", "print the even placement of experts", rt_plan_main },
		{ "diff", "print what two maps differ in", rt_diff_main },
		{ "front", "serve HTTP over several front ends", front_main },
		{ "key", "make a key for clients or peers", rt_key_main },
		{ "stats", "say how even a load is", rt_stats_main },
		{ NULL, NULL, NULL },
	};
	static const char *const later[] = { "predict", NULL };
	int i;

	for (i = 0; argc > 1 && later[i] != NULL; i++)
		if (strcmp(argv[1], later[i]) == 0)
			return not_yet(argv[1]);
	return cli_verbs("moe-route", "The control path of a cluster.", verb,
	    argc, argv);
}
