/*
 * policy_auto - when the auto policy runs wait and when defrag.
 *
 * wait runs a whole layer at once when everybody is there, which is best while
 * queues are short or the experts of a layer have about as many rows each:
 * front ends that have come apart meet again (bench/fig-lowload).  defrag runs one queue at a
 * time, which pays when queues are deep and uneven: the hot ones make full
 * passes while the others fill up.  Two measures:
 *
 *     depth  runnable rows queued
 *     skew   rows of the longest queue over the mean of the queues with rows
 *
 * Both are taken at a pick only if something was submitted since the last one.
 * A queue that is only being emptied looks shorter and more uneven with every
 * pick, how much so depends on the policy: measuring that would make auto
 * answer to itself.  They are smoothed over about 16 such picks.
 *
 *     wait -> defrag  depth >= 256 and skew >= 2
 *     defrag -> wait  depth < 128 or skew < 1.5
 *
 * each only when it has been so at every measure of 100 ms, so there are ten
 * switches a second at the very most, and a load that stays within the gap
 * causes none.  256 is twice the rows from which on a product
 * of matrices gains little by more of them (AMoE).
 */
#ifndef MOE_POLICY_AUTO_H
#define MOE_POLICY_AUTO_H

#include <stdbool.h>
#include <stdint.h>

struct policy_view;

#define POLICY_AUTO_DEPTH_ON	256.0
#define POLICY_AUTO_DEPTH_OFF	128.0
#define POLICY_AUTO_SKEW_ON	2.0
#define POLICY_AUTO_SKEW_OFF	1.5
#define POLICY_AUTO_DWELL_NS	100000000ull

struct policy_auto {		/* begins as zeros */
	bool defrag;		/* what runs now */
	bool begun;
	bool unsure;		/* the other one would be right, since: */
	uint64_t since_ns;
	double depth, skew;	/* smoothed */
	uint64_t n_submit;	/* of the view, when last measured */
	uint64_t n_switch;
};

/* Measure, switch if it is time, and say whether defrag is to pick. */
bool	policy_auto_defrag(struct policy_auto *a, const struct policy_view *v);

#endif
