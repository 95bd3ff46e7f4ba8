/* bench_plot - the verb `plot`: a stream as a gnuplot script, or drawn by it. */
#ifndef MOE_BENCH_PLOT_H
#define MOE_BENCH_PLOT_H

int	bench_plot_main(int argc, char **argv);

#endif
