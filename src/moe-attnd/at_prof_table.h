/* at_prof_table - the table of --profile: where the time of a step went. */
#ifndef MOE_AT_PROF_TABLE_H
#define MOE_AT_PROF_TABLE_H

#include <stdio.h>

#include "at_engine.h"
#include "err.h"

/*
 * Write #moe:profile/1 (moe-stream(5)): a record a part, in seconds, in us a
 * step, and in percent of the time that was not idle; then `total`, which is
 * that time and the sum of the parts before it; then `http`, the processor
 * time of the thread that calls this, which is beside the engine's.
 */
int	at_prof_table(const struct at_metrics *m, FILE *fp, struct err *err);

#endif
