/* fs - the verbs of moe-failsim.  argv[0] is the verb; each returns the exit
 * status. */
#ifndef MOE_FS_H
#define MOE_FS_H

int	fs_run_main(int argc, char **argv);
int	fs_judge_main(int argc, char **argv);

#endif
