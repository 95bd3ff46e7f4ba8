/* ex_opt - see ex_opt.h. */
#include "ex_opt.h"

#include <string.h>

#include "cli.h"
#include "clock.h"
#include "cluster.h"
#include "policy.h"
#include "sandbox.h"

static const struct ex_opt defaults = {
	.device = "cpu",
	.scale = 1,
	.block = 1,
	.batch = 0,
	.hold_ns = 200000,
	.urgent_ns = 30000000,
	.lookahead = 3,
	.decay = 0.8,
	.drain_ns = 30000000000ull,
	.ready_fd = -1,
};

/* What getopt cannot know. */
static int
check(const struct ex_opt *o, int left, struct err *err)
{
	if (left != 0)
		return err_set(err, ERR_USAGE, "no operands are taken");
	if (o->name == NULL || o->name[0] == '\0')
		return err_set(err, ERR_USAGE, "-i NAME is missing");
	if (!cluster_name_ok(o->name))
		return err_set(err, ERR_USAGE, "-i '%s' is no name (letters, "
		    "digits, - _ . and at most 47)", o->name);
	if (strcmp(o->device, "cpu") != 0 && strcmp(o->device, "cuda") != 0 &&
	    strncmp(o->device, "emu:", 4) != 0)
		return err_set(err, ERR_USAGE, "--device '%s' is none of cpu, "
		    "cuda and emu:NAME", o->device);
	if (o->cluster == NULL && o->model == NULL)
		return err_set(err, ERR_USAGE, "-m DIR is missing (or -f "
		    "CLUSTER with a model line)");
	if (o->cluster == NULL && o->listen == NULL)
		return err_set(err, ERR_USAGE, "-l ADDR is missing (or -f "
		    "CLUSTER with a line for %s)", o->name);
	if ((o->keep != NULL || o->cache != NULL) &&
	    strcmp(o->device, "cpu") != 0)
		return err_set(err, ERR_USAGE, "--keep and --cache: weights on "
		    "a device are not files");
	return 0;
}

int
ex_opt_parse(struct ex_opt *o, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'm', "model", CLI_STR, &o->model, "DIR",
		    "checkpoint directory", 0, 0, "MOE_MODEL" },
		{ 'l', "listen", CLI_STR, &o->listen, "ADDR",
		    "shm:PATH or tcp:HOST:PORT", 0, 0, NULL },
		{ 'i', "name", CLI_STR, &o->name, "NAME",
		    "name in the cluster", 0, 0, NULL },
		{ 'f', "cluster", CLI_STR, &o->cluster, "CLUSTER",
		    "cluster file: address, experts, router", 0, 0, NULL },
		{ 0, "experts", CLI_STR, &o->experts, "SPEC",
		    "all, or a list of E, E-E, L:E, L:E-E, L-L:E-E", 0, 0,
		    NULL },
		{ 0, "dtype", CLI_ENUM, &o->dtype, MODEL_DTYPES,
		    "what to compute in", 0, 0, NULL },
		{ 0, "weights", CLI_ENUM, &o->weights, MODEL_WEIGHTS,
		    "form of weights in memory (native: that of --dtype)", 0, 0,
		    NULL },
		{ 0, "threads", CLI_INT, &o->threads, "N",
		    "threads that compute; 0: one per processor", 0, 4096,
		    "MOE_THREADS" },
		{ 0, "memory", CLI_SIZE, &o->memory, "SIZE",
		    "most bytes of weights; 0: no bound", 0, 0, NULL },
		{ 0, "block", CLI_INT, &o->block, "N",
		    "experts that load and leave together", 1, 65535, NULL },
		{ 0, "keep", CLI_STR, &o->keep, "DIR",
		    "keep packed weights in this folder in memory", 0, 0,
		    "MOE_KEEP" },
		{ 0, "cache", CLI_STR, &o->cache, "DIR",
		    "copy packed weights to this folder on a disk", 0, 0,
		    "MOE_CACHE" },
		{ 0, "idle", CLI_DUR, &o->idle_ns, "TIME",
		    "unload blocks without rows for so long; 0: never", 0, 0,
		    NULL },
		{ 0, "policy", CLI_ENUM, &o->policy, POLICY_NAMES,
		    "which rows run next", 0, 0, NULL },
		{ 0, "hold", CLI_DUR, &o->hold_ns, "TIME",
		    "wait, defrag: longest wait for more rows", 0, 0, NULL },
		{ 0, "batch", CLI_INT, &o->batch, "N",
		    "wait, defrag: rows that are enough; 0: any number waits",
		    0, 1 << 20, NULL },
		{ 0, "urgent", CLI_DUR, &o->urgent_ns, "TIME",
		    "mtfs, flfs, defrag: rows that waited so long go first", 0,
		    0, NULL },
		{ 0, "lookahead", CLI_INT, &o->lookahead, "K",
		    "defrag: layers ahead that count", 0, 1000, NULL },
		{ 0, "decay", CLI_REAL, &o->decay, "D",
		    "defrag: factor by which each of them counts less", 0, 1,
		    NULL },
		{ 0, "device", CLI_STR, &o->device, "DEV",
		    "where to compute: cpu, cuda, or emu:NAME[,skip][,nolink][,as=SHAPE]",
		    0, 0, NULL },
		{ 0, "emu-scale", CLI_INT, &o->scale, "N",
		    "emu: N seconds for one, all clocks alike", 1,
		    CLOCK_MAX_DILATION, "MOE_EMU_SCALE" },
		{ 0, "isa", CLI_STR, &o->isa, "NAME",
		    "instruction set: ref, avx2, avx512bf16", 0, 0,
		    "MOE_ISA" },
		{ 0, "mixed", CLI_FLAG, &o->mixed, NULL,
		    "admit front ends of another kernel variant", 0, 0, NULL },
		LINK_SEC_OPTIONS(&o->sec, "peers and we",
		    "links beyond this machine without a key"),
		SANDBOX_OPTION(&o->no_sandbox),
		{ 't', "timeout", CLI_DUR, &o->drain_ns, "TIME",
		    "bound on draining; 0: none", 0, 0, NULL },
		{ 0, "ready-fd", CLI_INT, &o->ready_fd, "N",
		    "write a newline to descriptor N when ready", 0, 1 << 20,
		    NULL },
		{ 'n', "dry-run", CLI_FLAG, &o->dry_run, NULL,
		    "check everything, load nothing, open no port", 0, 0,
		    NULL },
		{ 'q', "quiet", CLI_FLAG, &o->quiet, NULL,
		    "errors only", 0, 0, NULL },
		{ 'v', "verbose", CLI_COUNT, &o->verbose, NULL,
		    "say more", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-expertd", NULL, "",
	    "Serve some experts of a Mixture-of-Experts checkpoint.", opt };
	int at;

	*o = defaults;
	if ((at = cli_parse(&c, argc, argv, err)) < 0)
		return -1;
	return check(o, argc - at, err);
}
