/* rt - the verbs of moe-route.  argv[0] is the verb; each returns the exit
 * status. */
#ifndef MOE_RT_H
#define MOE_RT_H

int	rt_serve_main(int argc, char **argv);
int	rt_status_main(int argc, char **argv);
int	rt_plan_main(int argc, char **argv);
int	rt_key_main(int argc, char **argv);
int	rt_stats_main(int argc, char **argv);
int	rt_move_main(int argc, char **argv);
int	rt_drain_main(int argc, char **argv);
int	rt_dead_main(int argc, char **argv);
int	rt_apply_main(int argc, char **argv);
int	rt_diff_main(int argc, char **argv);
int	rt_top_main(int argc, char **argv);

#endif
