/* ex_report - what a server says of itself: to the router (LINK_MSG_REPORT), to
 * people (USR1), and what it hears from the router: the orders LINK_MSG_WANT,
 * LINK_MSG_DRAIN and LINK_MSG_ASK: {"ask": "report"}, or {"policy": NAME}, to
 * which LINK_MSG_REPLY repeats the policy or has {"error": TEXT}.  Reports are
 * sent when they are asked for, and when there is news.  Engine thread only. */
#ifndef MOE_EX_REPORT_H
#define MOE_EX_REPORT_H

#include "ex.h"

/* Send a report if one is due; returns when the next one is. */
uint64_t ex_report_tend(struct ex *ex, uint64_t now_ns);
/* Something has changed that the router wants to know. */
void	ex_report_soon(struct ex *ex);
/* A control message of the router. */
void	ex_report_heard(struct ex *ex, const struct link_event *ev);
/* One table of counters on stderr. */
void	ex_report_dump(struct ex *ex, uint64_t now_ns);
/* Log what an emulated device did; nothing for others. */
void	ex_report_emu(const struct ex *ex);

#endif
