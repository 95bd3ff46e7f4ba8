/* bench_device - the verb `device`: a device file from what `kern` measured. */
#ifndef MOE_BENCH_DEVICE_H
#define MOE_BENCH_DEVICE_H

int	bench_device_main(int argc, char **argv);

#endif
