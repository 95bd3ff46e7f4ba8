/* at_main - what moe-attnd is made of: opened in order, closed in reverse. */
#ifndef MOE_AT_MAIN_H
#define MOE_AT_MAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "at_api.h"
#include "at_run.h"
#include "cluster.h"
#include "life.h"
#include "link.h"
#include "loop.h"
#include "map.h"
#include "model.h"
#include "resid.h"
#include "str.h"

struct at_main {
	/* options */
	const char *model_dir, *cluster_file, *http_addr, *name, *alias, *isa;
	const char *template_name, *key_file, *route_skew, *event_file;
	const char *device;
	struct link_sec_opt sec;
	bool no_sandbox, profile;
	bool local, no_prefix, mixed, crc, dry_run, experiment;
	int tls, weights, dtype, kv_dtype, quiet, verbose;
	int reduce;		/* enum kern_sum_rule */
	const char *groups;
	int n_group, attn_policy;
	struct at_queue_opt attn;
	int64_t attn_batch, attn_lookahead, prompt_rows;
	int64_t threads, ctx_tok, max_seq, max_queue, step_rows, chunk;
	int64_t ready_fd, scale;
	int64_t page_copies;
	uint64_t page_rate;
	uint64_t kv_bytes, deadline_ns, stall_ns, request_ns, drain_ns, max_wait_ns;
	const char *hedge_text;
	double hedge;

	/* parts */
	struct model *m;
	struct kern *kn;
	struct token *token;
	struct chat *chat;
	struct skew *skew;
	struct str odd;		/* what is not the model's, for every answer */
	struct at_defaults defaults;
	struct cluster *cluster;
	struct map *map;
	struct link_wire_opt wire;	/* of an emulated device */
	struct link_opt page_link;	/* who we are to our neighbours */
	struct link_port *port;
	struct link_pair *router;
	struct resid *resid;
	struct resid_store *resid_store;
	struct xeng *xeng;
	struct at_engine *engine;
	struct loop *loop;
	struct life *life;
	struct loop_timer *drain_timer;
	struct at_api *api;
	bool cut;		/* the drain was cut short */
	char *api_addr;		/* once it serves */
	atomic_bool serving;	/* reports can be made */
	atomic_bool draining;
};

#define AT_MAIN_INIT {							\
	.http_addr = "127.0.0.1:8080", .name = "front", .groups = "1",	\
	.device = "cpu", .scale = 1,					\
	.attn_policy = 1 /* wait */,					\
	.attn = { .hold_ns = 200000u, .urgent_ns = 30000000u,		\
	    .decay = 0.8 }, .attn_lookahead = 3, .prompt_rows = 16384,	\
	.max_seq = 256, .max_queue = 1024, .step_rows = 512,		\
	.page_copies = 1, .page_rate = 256u << 20,			\
	.chunk = 256, .ready_fd = -1, .deadline_ns = 1000000000u,	\
	.stall_ns = 10000000000u, .drain_ns = 30000000000u }

/* Read and check everything, load the weights, start the engine; opens no
 * HTTP port.  With dry_run: stops after the checks that read headers only. */
int	at_main_open(struct at_main *a, struct err *err);
/* From now on the router, if the cluster has one, hears how we are when it asks,
 * and when we begin to drain. */
void	at_main_report_start(struct at_main *a);
void	at_main_report_drain(struct at_main *a);
void	at_main_close(struct at_main *a);

#endif
