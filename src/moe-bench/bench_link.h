/* bench_link - `moe-bench link`: round trips of slots between two processes. */
#ifndef MOE_BENCH_LINK_H
#define MOE_BENCH_LINK_H

/* argv[0] is the verb; returns the exit status. */
int	bench_link_main(int argc, char **argv);

#endif
