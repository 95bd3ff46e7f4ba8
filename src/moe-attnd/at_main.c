/* at_main - see at_main.h. */
#include "at_main.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "at_kv.h"
#include "device.h"
#include "http.h"
#include "keys.h"
#include "log.h"
#include "mem.h"
#include "plan.h"
#include "skew.h"

#define CTX_DEFAULT	32768

/* ---- reading and checking ---- */

static int
open_emu(struct at_main *a, const struct kern_opt *ko, struct err *err)
{
	struct emu_opt eo = { .scale = (int)a->scale };
	char why[KERN_WHY];

	if (device_parse(a->device, &eo, err) != 0)
		return err_ctx(err, "--device");
	if (eo.skip && !a->experiment)
		return err_set(err, ERR_USAGE, "--device %s makes answers "
		    "meaningless: it takes --experiment as well", a->device);
	if (emu_open(&a->kn, &eo, ko, why) != 0)
		return err_set(err, ERR_UNAVAIL, "%s", why);
	emu_wire(&eo, kern_dtype_bytes(ko->act, (size_t)model_cfg(a->m)->hidden),
	    &a->wire.latency_ns, &a->wire.byte_ns);
	str_addf(&a->odd, "%sdevice=%s x%d", a->odd.n > 0 ? "; " : "",
	    a->device, eo.scale);
	log_warn("experiment: times are those of an emulated %s, %d times "
	    "slower%s", eo.device.name, eo.scale,
	    eo.skip ? "; answers mean nothing" : "");
	return 0;
}

static int
open_kern(struct at_main *a, struct err *err)
{
	enum kern_dtype act = model_pick_act(a->m, (enum model_dtype)a->dtype);
	const struct kern_opt o = { .isa = a->isa, .act = act,
	    .weights = model_pick_weights(act, (enum model_weights)a->weights),
	    .threads = (int)a->threads };
	char why[KERN_WHY];

	if (strncmp(a->device, "emu:", 4) == 0)
		return open_emu(a, &o, err);
	if (strcmp(a->device, "cpu") != 0)
		return err_set(err, ERR_USAGE, "--device '%s' is neither cpu "
		    "nor emu:NAME", a->device);
	if (kern_open(&a->kn, &o, why) != 0)
		return err_set(err, ERR_UNAVAIL, "%s", why);
	return 0;
}

static void
set_reduce(struct at_main *a)
{
	if (a->reduce == KERN_SUM_FLOAT)
		str_addf(&a->odd, "%sreduce=sum", a->odd.n > 0 ? "; " : "");
}

/* KV pages depend on the experts that were drawn, so on the request's seed:
 * one request's prefix is not another's. */
static int
open_skew(struct at_main *a, struct err *err)
{
	const struct model_cfg *c = model_cfg(a->m);

	if (a->route_skew == NULL)
		return 0;
	if (skew_open(&a->skew, a->route_skew, c->n_layer, c->n_expert, 0,
	    err) != 0)
		return err_ctx(err, "--route-skew");
	a->no_prefix = true;
	str_addf(&a->odd, "route-skew=%s", a->route_skew);
	log_warn("experiment: experts are drawn from %s, not chosen by the "
	    "model; answers mean nothing", a->route_skew);
	return 0;
}

static int
read_files(struct at_main *a, struct err *err)
{
	const struct model_cfg *c;
	char *warn;

	if (model_open(&a->m, a->model_dir, err) != 0 ||
	    token_load(&a->token, a->model_dir, err) != 0 ||
	    chat_load(&a->chat, a->model_dir, a->template_name, err) < 0 ||
	    at_defaults_load(&a->defaults, a->model_dir, &warn, err) != 0)
		return -1;
	if (warn != NULL) {
		log_warn("%s", warn);
		mem_free(warn);
	}
	if (a->chat == NULL && a->template_name != NULL)
		return err_set(err, ERR_USAGE, "--chat-template %s: %s has no "
		    "template of that name", a->template_name, a->model_dir);
	c = model_cfg(a->m);
	if (a->alias == NULL)
		a->alias = model_name(a->m);
	if (a->ctx_tok == 0)
		a->ctx_tok = c->max_pos < CTX_DEFAULT ? c->max_pos :
		    CTX_DEFAULT;
	if (a->ctx_tok > c->max_pos)
		return err_set(err, ERR_USAGE, "--ctx-size %lld: the model "
		    "knows %d positions", (long long)a->ctx_tok, c->max_pos);
	if (open_skew(a, err) != 0)
		return -1;
	set_reduce(a);
	return open_kern(a, err);
}

static int
read_cluster(struct at_main *a, struct err *err)
{
	const struct model_cfg *c = model_cfg(a->m);
	bool *moe;
	int l, rc;

	if (a->cluster_file == NULL)
		return 0;
	if (cluster_read(&a->cluster, a->cluster_file, err) != 0)
		return -1;
	moe = mem_calloc((size_t)c->n_layer, sizeof(*moe));
	for (l = 0; l < c->n_layer; l++)
		moe[l] = c->layer[l].moe;
	rc = plan_cluster(a->cluster, c->n_layer, moe, c->n_expert, &a->map,
	    err);
	mem_free(moe);
	return rc;
}

/* ---- the parts ---- */

/* The peers' key, and the warning if there is none where one should be. */
static int
open_key(const struct at_main *a, struct link_sec *s, struct err *err)
{
	const struct cluster *c = a->cluster;
	const char *file = a->sec.psk_file, *addr;
	size_t i;

	if (file == NULL && c != NULL)
		file = c->psk_file;
	if (link_sec_load(s, file, a->sec.tls, a->sec.insecure, err) != 0)
		return -1;
	for (i = 0; a->sec.insecure && c != NULL && i < c->n_member; i++) {
		addr = c->member[i].role == CLUSTER_FRONT ?
		    c->member[i].pages : c->member[i].addr;
		if (addr != NULL && link_sec_bare(s, addr)) {
			log_warn(LINK_SEC_BARE, addr);
			break;
		}
	}
	return 0;
}

static int
open_port(struct at_main *a, uint64_t fingerprint, struct err *err)
{
	const struct model_cfg *c = model_cfg(a->m);
	const struct cluster_member *r;
	struct link_opt o = { 0 };

	if (open_key(a, &o.sec, err) != 0)
		return -1;
	o.me.role = LINK_FRONT;
	snprintf(o.me.name, sizeof(o.me.name), "%s", a->name);
	if (getrandom(&o.me.incarnation, sizeof(o.me.incarnation), 0) < 0)
		return err_sys(err, ERR_TEMP, errno, "getrandom");
	o.me.fingerprint = fingerprint;
	snprintf(o.me.variant, sizeof(o.me.variant), "%s",
	    kern_variant(a->kn));
	o.me.act = (uint8_t)kern_act(a->kn);
	o.me.weights = (uint8_t)kern_weights(a->kn);
	o.me.mixed = a->mixed;
	o.crc = a->crc;
	o.wire = a->wire;
	o.me.hidden = (uint32_t)c->hidden;
	o.me.n_layer = (uint32_t)c->n_layer;
	o.me.n_expert = (uint32_t)c->n_expert;
	o.me.top_k = (uint32_t)c->top_k;
	at_disp_ring(c, kern_act(a->kn), &o.slot_bytes, &o.depth);
	a->page_link = o;
	a->page_link.wire = (struct link_wire_opt){ 0 };
	/* Keys and values depend on how answers were added up. */
	a->page_link.me.fingerprint += (uint64_t)a->reduce;
	if (link_port_open(&a->port, &o, err) != 0)
		return -1;
	r = a->cluster != NULL ? cluster_find(a->cluster, CLUSTER_ROUTE, NULL) :
	    NULL;
	if (r == NULL)
		return 0;
	a->router = link_dial(a->port, r->addr, NULL, err);
	return a->router != NULL ? 0 : err_ctx(err, "router %s", r->name);
}

static void
say_progress(uint64_t done, uint64_t total, void *arg)
{
	(void)arg;
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\rexperts: %3.0f %%%s",
		    total ? 100.0 * (double)done / (double)total : 100.0,
		    done >= total ? "\n" : "");
}

static int
open_local(struct at_main *a, struct err *err)
{
	const struct model_cfg *c = model_cfg(a->m);
	const struct resid_opt ro = { .kn = a->kn, .m = a->m };
	struct xeng_opt xo = { .kn = a->kn, .hidden = c->hidden,
	    .inter = c->inter, .glu = c->glu };
	int l, e;

	a->resid = resid_open(&ro);
	for (l = 0; l < c->n_layer; l++)
		for (e = 0; e < c->n_expert; e++)
			resid_assign(a->resid, l, e);
	resid_load_all(a->resid);
	if (resid_wait(a->resid, say_progress, NULL, err) != 0)
		return -1;
	xo.resid = a->resid;
	a->xeng = xeng_open(&xo);
	return 0;
}

static double
machine_bytes(void)
{
	return (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
}

/* Pages are mapped, and memory is taken only as they fill: what cannot be held
 * must be refused here, not when it is used. */
static int
check_kv(const struct at_main *a, struct err *err)
{
	if ((double)a->kv_bytes <= machine_bytes())
		return 0;
	return err_set(err, ERR_USAGE, "--kv-memory: %llu bytes are more than "
	    "this machine's %.0f", (unsigned long long)a->kv_bytes,
	    machine_bytes());
}

/* --kv-dtype. */
static enum kern_dtype
kv_type(const struct at_main *a)
{
	switch ((enum model_dtype)a->kv_dtype) {
	case MODEL_F32:
		return KERN_F32;
	case MODEL_BF16:
		return KERN_BF16;
	case MODEL_AUTO:
		break;
	}
	return kern_act(a->kn);
}

/* A quarter of the machine, but no more than all sequences can use. */
static uint64_t
default_kv(const struct at_main *a)
{
	const struct model_cfg *c = model_cfg(a->m);
	double page = (double)kern_kv_page_bytes(c->n_kv_head, c->dk, c->dv,
	    kv_type(a)) * c->n_layer;
	double pages = ceil((double)a->ctx_tok / KERN_PAGE_TOK) *
	    (double)a->max_seq;

	return (uint64_t)fmin(machine_bytes() / 4, page * pages);
}

/* Who takes copies of our pages: the front ends behind ours in the cluster
 * file, from the top again after its last.  false: we are not in it, or nobody
 * else is. */
static bool
find_neighbours(const struct at_main *a, struct at_page_opt *o)
{
	const struct cluster *c = a->cluster;
	const struct cluster_member *me = c == NULL ? NULL :
	    cluster_find(c, CLUSTER_FRONT, a->name), *m;
	size_t at, i;

	if (me == NULL || me->pages == NULL || a->no_prefix)
		return false;
	at = (size_t)(me - c->member);
	for (i = 1; i < c->n_member && o->n_peer < a->page_copies; i++) {
		m = &c->member[(at + i) % c->n_member];
		if (m->role == CLUSTER_FRONT && m->pages != NULL)
			o->peer[o->n_peer++] = m->pages;
	}
	o->listen = me->pages;
	o->link = &a->page_link;
	o->rate = a->page_rate;
	return o->n_peer > 0;
}

/* Any thread; pairs (a reference that is taken; or NULL) is how each expert
 * server does. */
static void
report(void *arg, json_t *pairs)
{
	struct at_main *a = arg;
	struct at_metrics m;
	char why[200], *text;
	json_t *j;

	if (!atomic_load(&a->serving)) {
		json_decref(pairs);
		return;
	}
	at_metrics(a->engine, &m);
	j = json_pack("{s:s, s:s, s:i, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o*}",
	    "name", a->name, "role", "front", "pid", (int)getpid(),
	    "address", a->api_addr,
	    "state", atomic_load(&a->draining) ? "draining" :
	    at_health(a->engine, why) ? "serving" : "waiting",
	    "waiting", (json_int_t)m.n_waiting,
	    "running", (json_int_t)m.n_running,
	    "rows", (json_int_t)m.rows,
	    "tokens", (json_int_t)m.gen_tok,
	    "replays", (json_int_t)m.replays, "pairs", pairs);
	text = json_dumps(j, JSON_COMPACT);
	/* The router may be away: nothing depends on it. */
	(void)link_msg(a->router, LINK_MSG_REPORT, text, strlen(text));
	free(text);
	json_decref(j);
}

static int
open_engine(struct at_main *a, uint64_t fingerprint, struct err *err)
{
	struct at_page_opt pages = { 0 };
	const struct at_engine_opt o = { .kn = a->kn, .m = a->m,
	    .skew = a->skew, .fingerprint = fingerprint, .ctx_tok = (int)a->ctx_tok,
	    .kvt = kv_type(a),
	    .kv_bytes = a->kv_bytes ? a->kv_bytes : default_kv(a),
	    .prefix_cache = !a->no_prefix, .n_group = a->n_group,
	    .max_seq = (int)a->max_seq, .max_queue = (int)a->max_queue,
	    .step_rows = (int)a->step_rows, .chunk_tok = (int)a->chunk,
	    .prompt_rows = (int)a->prompt_rows,
	    .attn = { policy_at(a->attn_policy), a->attn.hold_ns,
		a->attn.urgent_ns, (uint32_t)a->attn_batch,
		(uint32_t)a->attn_lookahead, a->attn.decay },
	    .port = a->port, .wire = a->wire.latency_ns > 0, .map = a->map, .xeng = a->xeng,
	    .deadline_ns = a->deadline_ns, .stall_ns = a->stall_ns,
	    .max_wait_ns = a->max_wait_ns, .hedge = a->hedge,
	    .reduce = (enum kern_sum_rule)a->reduce,
	    .pages = find_neighbours(a, &pages) ? &pages : NULL,
	    .report = report, .report_arg = a };

	return at_engine_open(&a->engine, &o, err);
}

/* What a start would find wrong beside the model: keys, memory, descriptor. */
static int
check_rest(const struct at_main *a, struct err *err)
{
	const struct model_cfg *c = model_cfg(a->m);
	const struct at_kv_opt ko = { c->n_layer, c->n_kv_head, c->dk, c->dv,
	    kv_type(a), a->kv_bytes ? a->kv_bytes : default_kv(a),
	    !a->no_prefix };
	struct link_sec sec;
	struct keys *keys;
	struct at_kv *kv;

	if (a->key_file != NULL) {
		if (keys_load(&keys, a->key_file, err) != 0)
			return -1;
		keys_free(keys);
	}
	if (open_key(a, &sec, err) != 0 || at_kv_open(&kv, &ko, err) != 0)
		return -1;
	link_sec_wipe(&sec);
	at_kv_close(kv);
	if (a->ready_fd >= 0 && fcntl((int)a->ready_fd, F_GETFD) < 0)
		return err_sys(err, ERR_USAGE, errno, "--ready-fd %d",
		    (int)a->ready_fd);
	return 0;
}

int
at_main_open(struct at_main *a, struct err *err)
{
	uint64_t fingerprint;

	if (check_kv(a, err) != 0 || read_files(a, err) != 0 ||
	    read_cluster(a, err) != 0 ||
	    http_check_addr(a->http_addr, a->key_file != NULL, a->sec.insecure,
	    err) != 0)
		return -1;
	if (a->dry_run)
		return check_rest(a, err);
	if (model_fingerprint(a->m, &fingerprint, err) != 0 ||
	    loop_open(&a->loop, err) != 0 ||
	    open_port(a, fingerprint, err) != 0 ||
	    (a->local && open_local(a, err) != 0) ||
	    open_engine(a, fingerprint, err) != 0)
		return -1;
	return 0;
}

/* ---- reports to the router ---- */

void
at_main_report_start(struct at_main *a)
{
	if (a->router == NULL)
		return;
	a->api_addr = mem_strdup(at_api_addr(a->api));
	atomic_store(&a->serving, true);
	report(a, NULL);
}

void
at_main_report_drain(struct at_main *a)
{
	atomic_store(&a->draining, true);
	report(a, NULL);
}

/* The port's figures, before it goes. */
static void
say_wire(const struct at_main *a)
{
	struct link_counters lc;
	char text[LINK_SAY];

	if (a->port == NULL)
		return;
	link_counters(a->port, &lc);
	if (link_wire_say(&lc, text) != NULL)
		log_info("%s", text);
}

void
at_main_close(struct at_main *a)
{
	char text[DEVICE_SAY];

	loop_timer_free(a->drain_timer);
	at_api_stop(a->api);
	life_end(a->life);
	at_engine_close(a->engine);
	say_wire(a);
	skew_close(a->skew);
	str_free(&a->odd);
	if (a->xeng != NULL)
		xeng_close(a->xeng);
	resid_close(a->resid);
	if (a->router != NULL)
		link_undial(a->router);
	if (a->port != NULL)
		link_port_close(a->port);
	mem_free(a->api_addr);
	map_unref(a->map);
	cluster_free(a->cluster);
	chat_free(a->chat);
	token_free(a->token);
	if (a->kn != NULL && device_say(a->kn, text) != NULL)
		log_info("%s", text);
	if (a->kn != NULL)
		kern_close(a->kn);
	model_close(a->m);
	loop_close(a->loop);
}
