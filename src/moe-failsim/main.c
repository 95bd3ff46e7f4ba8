/* moe-failsim - breaks clusters on purpose, and judges what happened. */
#include "cli.h"
#include "fs.h"

int
main(int argc, char **argv)
{
	static const struct cli_verb verb[] = {
		{ "run", "do to a cluster what a drill says", fs_run_main },
		{ "judge", "say whether a drill went well", fs_judge_main },
		{ NULL, NULL, NULL },
	};

	return cli_verbs("moe-failsim",
	    "Break a cluster on purpose and judge what happens.", verb, argc,
	    argv);
}
