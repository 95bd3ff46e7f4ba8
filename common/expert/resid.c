/* resid - see resid.h.  Here: states, and the engine thread's half of the
 * hand-over; resid_load.c has the loader threads. */
#include "resid.h"

#include <string.h>

#include "keep.h"
#include "mem.h"
#include "num.h"
#include "resid_load.h"
#include "store.h"

#define FRESH	UINT64_MAX	/* used_ns of what has just been loaded */

struct slot_of {		/* one expert */
	uint8_t state;		/* enum resid_state */
	bool unwanted;		/* leave as soon as it is loaded */
	bool parked;		/* was in memory, comes back on demand */
	uint16_t run_first, run_n;	/* of its last load */
	uint64_t used_ns;
};

struct resid {
	struct resid_opt opt;
	struct resid_source src;
	struct slot_of *slot;	/* [n_layer][n_expert] */
	struct kern_expert **w;	/* [n_layer]: [n_expert], NULL until used */
	struct resid_load *load;
	uint64_t used_bytes;	/* loading, here, leaving or being freed */
	uint64_t total_bytes, version;
	uint32_t n_state[RESID_LEAVING + 1];
	uint32_t *n_assigned;	/* [n_layer] not absent */
};

/* ---- the checkpoint as a source ------------------------------------------ */

static bool
store_has(void *arg, int layer)
{
	const struct resid *r = arg;

	return model_cfg(r->opt.m)->layer[layer].moe;
}

static uint64_t
store_bytes(void *arg, int layer)
{
	const struct resid *r = arg;

	return model_expert_file_bytes(r->opt.m, layer);
}

static int
store_load(void *arg, int layer, int expert, struct kern_expert *out,
    struct err *err)
{
	const struct resid *r = arg;

	return store_load_expert(r->opt.kn, r->opt.m, layer, expert, out, err);
}

static void
store_drop(void *arg, struct kern_expert *x)
{
	const struct resid *r = arg;

	store_free_expert(r->opt.kn, x);
}

static int
kept_load(void *arg, int layer, int first, int n, struct kern_expert *w,
    struct err *err)
{
	return keep_load(((const struct resid *)arg)->opt.keep, layer, first,
	    n, w, err);
}

static void
kept_drop(void *arg, struct kern_expert *x)
{
	keep_drop(((const struct resid *)arg)->opt.keep, x);
}

static void
kept_forget(void *arg, int layer, int first, int n)
{
	keep_forget(((const struct resid *)arg)->opt.keep, layer, first, n);
}

static void
use_store(struct resid *r)
{
	const struct model_cfg *cfg = model_cfg(r->opt.m);

	r->src.n_layer = cfg->n_layer;
	r->src.n_expert = cfg->n_expert;
	r->src.expert_bytes = store_expert_bytes(r->opt.kn, r->opt.m);
	r->src.has = store_has;
	r->src.file_bytes = store_bytes;
	r->src.load = store_load;
	r->src.drop = store_drop;
	r->src.arg = r;
	if (r->opt.keep == NULL)
		return;
	r->src.load_run = kept_load;
	r->src.drop = kept_drop;
	r->src.forget = kept_forget;
}

/* ---- opening ------------------------------------------------------------- */

struct resid *
resid_open(const struct resid_opt *opt)
{
	struct resid *r = mem_zalloc(sizeof(*r));

	r->opt = *opt;
	if (r->opt.block <= 0)
		r->opt.block = 1;
	if (r->opt.threads <= 0)
		r->opt.threads = 4;
	if (opt->src != NULL)
		r->src = *opt->src;
	else
		use_store(r);
	r->slot = mem_calloc((size_t)r->src.n_layer * (size_t)r->src.n_expert,
	    sizeof(*r->slot));
	r->w = mem_calloc((size_t)r->src.n_layer, sizeof(*r->w));
	r->n_assigned = mem_calloc((size_t)r->src.n_layer,
	    sizeof(*r->n_assigned));
	r->load = resid_load_open(&r->src, r->opt.threads, opt->wake,
	    opt->wake_arg);
	return r;
}

static struct slot_of *
slot_at(const struct resid *r, int layer, int expert)
{
	BUG_ON(layer < 0 || layer >= r->src.n_layer);
	BUG_ON(expert < 0 || expert >= r->src.n_expert);
	return &r->slot[(size_t)layer * (size_t)r->src.n_expert +
	    (size_t)expert];
}

void
resid_stop(struct resid *r)
{
	resid_load_stop(r->load);
}

void
resid_close(struct resid *r)
{
	int l, e;

	if (r == NULL)
		return;
	resid_load_close(r->load);
	for (l = 0; l < r->src.n_layer; l++)
		for (e = 0; e < r->src.n_expert; e++)
			if (resid_get(r, l, e) != NULL)
				r->src.drop(r->src.arg, &r->w[l][e]);
	for (l = 0; l < r->src.n_layer; l++)
		mem_free(r->w[l]);
	mem_free(r->w);
	mem_free(r->n_assigned);
	mem_free(r->slot);
	mem_free(r);
}

/* ---- states -------------------------------------------------------------- */

static void
set_state(struct resid *r, int layer, int expert, enum resid_state state)
{
	struct slot_of *s = slot_at(r, layer, expert);

	if (s->state != RESID_ABSENT) {
		r->n_state[s->state]--;
		r->n_assigned[layer]--;
	}
	if (state != RESID_ABSENT) {
		r->n_state[state]++;
		r->n_assigned[layer]++;
	}
	s->state = (uint8_t)state;
	s->unwanted = false;
	s->parked &= state == RESID_DISK || state == RESID_LOADING;
	r->version++;
}

void
resid_assign(struct resid *r, int layer, int expert)
{
	struct slot_of *s = slot_at(r, layer, expert);

	if (s->state == RESID_LOADING)
		s->unwanted = false;
	else if (s->state == RESID_LEAVING)
		set_state(r, layer, expert, RESID_HERE);
	else if (s->state == RESID_ABSENT && r->src.has(r->src.arg, layer))
		set_state(r, layer, expert, RESID_DISK);
}

int
resid_fits(const struct resid *r, struct err *err)
{
	char need[NUM_TEXT], have[NUM_TEXT];
	struct resid_count c;

	resid_count(r, &c);
	if (r->opt.memory_bytes == 0 ||
	    c.assigned_bytes <= r->opt.memory_bytes)
		return 0;
	return err_set(err, ERR_USAGE, "the weights of %u experts need "
	    "%llu bytes (%s), --memory gives %llu (%s)", c.assigned,
	    (unsigned long long)c.assigned_bytes,
	    num_size_text(c.assigned_bytes, need),
	    (unsigned long long)r->opt.memory_bytes,
	    num_size_text(r->opt.memory_bytes, have));
}

enum resid_state
resid_state(const struct resid *r, int layer, int expert)
{
	return slot_at(r, layer, expert)->state;
}

const struct kern_expert *
resid_get(const struct resid *r, int layer, int expert)
{
	enum resid_state s = slot_at(r, layer, expert)->state;

	if (s != RESID_HERE && s != RESID_LEAVING)
		return NULL;
	return &r->w[layer][expert];
}

uint32_t
resid_layer_assigned(const struct resid *r, int layer)
{
	BUG_ON(layer < 0 || layer >= r->src.n_layer);
	return r->n_assigned[layer];
}

uint64_t
resid_version(const struct resid *r)
{
	return r->version;
}

bool
resid_any_leaving(const struct resid *r)
{
	return r->n_state[RESID_LEAVING] != 0;
}

int
resid_n_layer(const struct resid *r)
{
	return r->src.n_layer;
}

int
resid_n_expert(const struct resid *r)
{
	return r->src.n_expert;
}

void
resid_count(const struct resid *r, struct resid_count *out)
{
	const uint32_t *n = r->n_state;

	out->assigned = n[RESID_DISK] + n[RESID_LOADING] + n[RESID_HERE];
	out->here = n[RESID_HERE];
	out->loading = n[RESID_LOADING];
	out->assigned_bytes = (uint64_t)out->assigned * r->src.expert_bytes;
	out->here_bytes = (uint64_t)(n[RESID_HERE] + n[RESID_LEAVING]) *
	    r->src.expert_bytes;
	out->read_bytes = resid_load_bytes(r->load);
	out->total_bytes = r->total_bytes;
}

/* ---- coming -------------------------------------------------------------- */

/* First expert of the block that holds `expert`, and one past its last. */
static int
block_first(const struct resid *r, int expert)
{
	return expert - expert % r->opt.block;
}

static int
block_end(const struct resid *r, int first)
{
	return first + r->opt.block < r->src.n_expert ?
	    first + r->opt.block : r->src.n_expert;
}

/* Under which name an expert's weights are kept. */
static void
note_runs(struct resid *r, const struct resid_item *it)
{
	struct slot_of *s;
	int i, j, n;

	for (i = 0; i < it->n; i += n) {
		n = resid_item_run(it, i);
		for (j = i; j < i + n; j++) {
			s = slot_at(r, it->layer, it->expert[j]);
			s->run_first = (uint16_t)it->expert[i];
			s->run_n = (uint16_t)n;
		}
	}
}

/* Order the loading of what a block has on disk; false when there is no room
 * for all of it. */
static bool
load_block(struct resid *r, int layer, int first)
{
	int e, end = block_end(r, first), n = 0;
	struct resid_item *it;
	uint64_t bytes;

	for (e = first; e < end; e++)
		n += resid_state(r, layer, e) == RESID_DISK;
	if (n == 0)
		return true;
	bytes = (uint64_t)n * r->src.expert_bytes;
	if (r->opt.memory_bytes != 0 &&
	    r->used_bytes + bytes > r->opt.memory_bytes)
		return false;
	r->used_bytes += bytes;
	if (r->w[layer] == NULL)
		r->w[layer] = mem_calloc((size_t)r->src.n_expert,
		    sizeof(**r->w));
	it = resid_item_new(layer, n);
	for (e = first; e < end; e++) {
		if (resid_state(r, layer, e) != RESID_DISK)
			continue;
		set_state(r, layer, e, RESID_LOADING);
		it->expert[it->n++] = e;
		r->total_bytes += r->src.file_bytes(r->src.arg, layer);
	}
	it->w = r->w[layer];
	note_runs(r, it);
	resid_load_put(r->load, it);
	return true;
}

void
resid_load_all(struct resid *r)
{
	int l, e;

	for (l = 0; l < r->src.n_layer; l++)
		for (e = 0; e < r->src.n_expert; e += r->opt.block)
			if (!load_block(r, l, e))
				return;
}

/* ---- going --------------------------------------------------------------- */

void
resid_leave(struct resid *r, int layer, int expert)
{
	int e = block_first(r, expert), end = block_end(r, e);

	for (; e < end; e++) {
		switch (resid_state(r, layer, e)) {
		case RESID_DISK:
			set_state(r, layer, e, RESID_ABSENT);
			break;
		case RESID_LOADING:
			slot_at(r, layer, e)->unwanted = true;
			break;
		case RESID_HERE:
			set_state(r, layer, e, RESID_LEAVING);
			break;
		case RESID_ABSENT:
		case RESID_LEAVING:
			break;
		}
	}
}

/* Hand the weights of an expert to the loaders, to be freed. */
static void
send_away(struct resid *r, int layer, int expert, enum resid_state then)
{
	const struct slot_of *s = slot_at(r, layer, expert);
	struct resid_item *it = resid_item_new(layer, 1);

	/* The loader frees its own copy of the pointers: the expert may be
	 * assigned and loaded again meanwhile. */
	it->drop = true;
	it->expert[it->n++] = expert;
	it->gone = r->w[layer][expert];
	it->run_first = s->run_first;
	it->run_n = s->run_n;
	memset(&r->w[layer][expert], 0, sizeof(r->w[layer][expert]));
	set_state(r, layer, expert, then);
	resid_load_put(r->load, it);
}

void
resid_reap(struct resid *r, bool (*busy)(void *arg, int layer, int expert),
    void *arg)
{
	int l, e;

	for (l = 0; l < r->src.n_layer && resid_any_leaving(r); l++)
		for (e = 0; e < r->src.n_expert; e++)
			if (resid_state(r, l, e) == RESID_LEAVING &&
			    !busy(arg, l, e))
				send_away(r, l, e, RESID_ABSENT);
}

/* ---- on demand ----------------------------------------------------------- */

void
resid_use(struct resid *r, int layer, int expert, uint64_t now_ns)
{
	slot_at(r, layer, expert)->used_ns = now_ns;
}

/* Is nothing of the block in use?  false, too, when none of it is here. */
static bool
block_idle(struct resid *r, int layer, int first, uint64_t now_ns,
    uint64_t idle_ns)
{
	int e, end = block_end(r, first), n = 0;
	bool idle = true;
	struct slot_of *s;

	for (e = first; e < end; e++) {
		s = slot_at(r, layer, e);
		if (s->used_ns == FRESH)
			s->used_ns = now_ns;
		if (s->state == RESID_LOADING || now_ns < s->used_ns + idle_ns)
			idle = false;
		n += s->state == RESID_HERE;
	}
	return idle && n > 0;
}

static uint32_t
park_block(struct resid *r, int layer, int first)
{
	int e, end = block_end(r, first);
	uint32_t n = 0;

	for (e = first; e < end; e++) {
		if (resid_state(r, layer, e) != RESID_HERE)
			continue;
		send_away(r, layer, e, RESID_DISK);
		slot_at(r, layer, e)->parked = true;
		n++;
	}
	return n;
}

uint32_t
resid_park(struct resid *r, uint64_t now_ns, uint64_t idle_ns,
    bool (*busy)(void *arg, int layer, int expert), void *arg)
{
	uint32_t n = 0;
	int l, e, i;

	for (l = 0; l < r->src.n_layer; l++) {
		for (e = 0; e < r->src.n_expert; e += r->opt.block) {
			if (!block_idle(r, l, e, now_ns, idle_ns))
				continue;
			for (i = e; i < block_end(r, e) && !busy(arg, l, i); i++)
				continue;
			if (i == block_end(r, e))
				n += park_block(r, l, e);
		}
	}
	return n;
}

bool
resid_want(struct resid *r, int layer, int expert)
{
	const struct slot_of *s = slot_at(r, layer, expert);

	if (s->state == RESID_DISK && s->parked)
		(void)load_block(r, layer, block_first(r, expert));
	return s->state == RESID_LOADING;
}

bool
resid_serves(const struct resid *r, int layer, int expert)
{
	const struct slot_of *s = slot_at(r, layer, expert);

	return s->state == RESID_HERE || s->parked;
}

/* ---- the hand-over ------------------------------------------------------- */

static void
take_item(struct resid *r, const struct resid_item *it)
{
	uint64_t bytes = (uint64_t)it->n * r->src.expert_bytes;
	bool unwanted;
	int i, e;

	if (it->drop || it->err.code != 0)
		r->used_bytes -= bytes;
	for (i = 0; i < it->n && !it->drop; i++) {
		e = it->expert[i];
		unwanted = slot_at(r, it->layer, e)->unwanted;
		slot_at(r, it->layer, e)->used_ns = FRESH;
		slot_at(r, it->layer, e)->parked = false;
		if (it->err.code == 0)
			set_state(r, it->layer, e,
			    unwanted ? RESID_LEAVING : RESID_HERE);
		else
			set_state(r, it->layer, e,
			    unwanted ? RESID_ABSENT : RESID_DISK);
	}
}

int
resid_poll(struct resid *r, struct err *err)
{
	struct resid_item *it = resid_load_take(r->load), *next;
	int rc = 0;

	for (; it != NULL; it = next) {
		next = it->next;
		take_item(r, it);
		if (it->err.code != 0 && rc == 0) {
			rc = -1;
			if (err != NULL)
				*err = it->err;
		}
		mem_free(it);
	}
	return rc;
}

int
resid_wait(struct resid *r, resid_progress_fn *progress, void *arg,
    struct err *err)
{
	struct err e = ERR_INIT;
	int rc = 0;

	for (;;) {
		if (resid_poll(r, &e) != 0 && rc == 0) {
			rc = -1;
			if (err != NULL)
				*err = e;
		}
		if (progress != NULL)
			progress(resid_load_bytes(r->load), r->total_bytes,
			    arg);
		if (r->n_state[RESID_LOADING] == 0)
			return rc;
		resid_load_sleep(r->load);
	}
}
