/* bench_load - `moe-bench load`: from a checkpoint into packed memory. */
#ifndef MOE_BENCH_LOAD_H
#define MOE_BENCH_LOAD_H

int	bench_load_main(int argc, char **argv);		/* argv[0] is the verb */

#endif
