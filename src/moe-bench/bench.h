/* bench - the verbs of moe-bench.  argv[0] is the verb; each returns the exit
 * status. */
#ifndef MOE_BENCH_H
#define MOE_BENCH_H

int	bench_drive_main(int argc, char **argv);

#endif
