/* front - `moe-route front`, the HTTP door of a cluster with several attention
 * front ends.  argv[0] is the verb; returns the exit status. */
#ifndef MOE_FRONT_H
#define MOE_FRONT_H

int	front_main(int argc, char **argv);

#endif
