/* bench_model - `moe-bench model`: write a checkpoint with random weights. */
#ifndef MOE_BENCH_MODEL_H
#define MOE_BENCH_MODEL_H

/* argv[0] is "model"; returns the exit status. */
int	bench_model_main(int argc, char **argv);

#endif
