/* moe-bench - measures: kernels, links, servers; writes checkpoints for it. */
#include "bench.h"
#include "bench_device.h"
#include "bench_e2e.h"
#include "bench_gen.h"
#include "bench_kern.h"
#include "bench_link.h"
#include "bench_load.h"
#include "bench_model.h"
#include "bench_plot.h"
#include "bench_sim.h"
#include "cli.h"

int
main(int argc, char **argv)
{
	static const struct cli_verb verb[] = {
		{ "device", "make a device file of what kern measured",
		    bench_device_main },
		{ "drive", "load an OpenAI server, open loop, and measure",
		    bench_drive_main },
		{ "e2e", "compare set-ups of a whole model, in turn",
		    bench_e2e_main },
		{ "gen", "draw arrivals, lengths or routing",
		    bench_gen_main },
		{ "kern", "measure the kernels against this machine's limits",
		    bench_kern_main },
		{ "link", "measure round trips of a transport",
		    bench_link_main },
		{ "load", "measure loading, cold and warm", bench_load_main },
		{ "model", "write a checkpoint with random weights",
		    bench_model_main },
		{ "plot", "draw columns of a stream", bench_plot_main },
		{ "sim", "compute what a cluster of devices would do",
		    bench_sim_main },
		{ NULL, NULL, NULL },
	};

	return cli_verbs("moe-bench",
	    "Measure kernels, links and servers.", verb, argc, argv);
}
