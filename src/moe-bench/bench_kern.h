/* bench_kern - `moe-bench kern`: the kernels against this machine's limits. */
#ifndef MOE_BENCH_KERN_H
#define MOE_BENCH_KERN_H

int	bench_kern_main(int argc, char **argv);		/* argv[0] is the verb */

#endif
