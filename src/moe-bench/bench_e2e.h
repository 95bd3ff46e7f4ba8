/* bench_e2e - `moe-bench e2e`: the whole system, set-up against set-up. */
#ifndef MOE_BENCH_E2E_H
#define MOE_BENCH_E2E_H

int	bench_e2e_main(int argc, char **argv);

#endif
