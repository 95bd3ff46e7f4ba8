/* ex_opt - the command line of moe-expertd. */
#ifndef MOE_EX_OPT_H
#define MOE_EX_OPT_H

#include "ex.h"

/* -1: ERR_USAGE.  -h and -V print and exit. */
int	ex_opt_parse(struct ex_opt *o, int argc, char **argv, struct err *err);

#endif
