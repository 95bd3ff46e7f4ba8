/*
 * fake_pairs.h - link pairs for disp_rig.h, which defines DEPTH, SLOT, MAX_PAIR
 * and H and includes what is tested before: slots without a peer, and servers
 * that answer as the test says.
 */
#ifndef MOE_FAKE_PAIRS_H
#define MOE_FAKE_PAIRS_H

/* ---- the link layer ---- */

struct link_pair {
	void *user;
	bool up, dialled, broken;
	struct {
		bool busy, sent;
		void *user;
		struct slot_head head;
		char mem[SLOT];
	} slot[DEPTH];
	char answer[SLOT];
};

static struct link_pair pair[MAX_PAIR];
static int n_pair, n_broken;

struct link_pair *
link_dial(struct link_port *p, const char *addr, void *user, struct err *err)
{
	(void)p;
	(void)addr;
	(void)err;
	memset(&pair[n_pair], 0, sizeof(pair[0]));
	pair[n_pair].user = user;
	pair[n_pair].dialled = true;
	return &pair[n_pair++];
}

void
link_undial(struct link_pair *p)
{
	p->dialled = false;
}

void *
link_user(const struct link_pair *p)
{
	return p->user;
}

const char *
link_addr(const struct link_pair *p)
{
	(void)p;
	return "fake:";
}

uint32_t
link_slot_bytes(const struct link_pair *p)
{
	(void)p;
	return SLOT;
}

int
link_reserve(struct link_pair *p, void **mem)
{
	int i;

	for (i = 0; p->up && i < DEPTH; i++) {
		if (p->slot[i].busy)
			continue;
		p->slot[i].busy = true;
		*mem = p->slot[i].mem;
		return i;
	}
	return -1;
}

void
link_send(struct link_pair *p, int slot, struct slot_head *head, void *user)
{
	BUG_ON(!p->up || !p->slot[slot].busy || p->slot[slot].sent);
	p->slot[slot].sent = true;
	p->slot[slot].user = user;
	p->slot[slot].head = *head;
}

void
link_release(struct link_pair *p, int slot)
{
	BUG_ON(!p->slot[slot].busy);
	p->slot[slot].busy = p->slot[slot].sent = false;
}

void
link_break(struct link_pair *p, const char *why)
{
	(void)why;
	p->broken = true;
	n_broken++;
}

bool
link_next(struct link_port *p, struct link_event *ev)
{
	(void)p;
	(void)ev;
	return false;		/* the test hands events in itself */
}

/* The router is the pair behind all others. */
static struct link_pair router_pair;
static struct link_hello router_hello = { .incarnation = 0xabc };
static char said[400];		/* the last thing it was told */

const struct link_hello *
link_peer(const struct link_pair *p)
{
	BUG_ON(p != &router_pair);
	return &router_hello;
}

int
link_msg(struct link_pair *p, int type, const void *data, size_t n)
{
	BUG_ON(p != &router_pair);
	if (type != LINK_MSG_REPLY)
		return 0;
	snprintf(said, sizeof(said), "%.*s", (int)n, (const char *)data);
	return 0;
}

void
link_wait(struct link_port *p, uint64_t deadline_ns)
{
	(void)p;
	(void)deadline_ns;
}

/* ---- the servers ---- */

static float
expert_value(const float *row, int expert, int j)
{
	return row[j] * (float)(expert + 1) + (float)expert;
}

static void
event(int s, enum link_ev what)
{
	struct link_event ev = { 0 };
	int i;

	ev.what = what;
	ev.pair = &pair[s];
	snprintf(ev.reason, sizeof(ev.reason), "test");
	if (what == LINK_DOWN)
		for (i = 0; i < DEPTH; i++)
			pair[s].slot[i].busy = pair[s].slot[i].sent = false;
	pair[s].up = what == LINK_UP;
	pair[s].broken = false;
	at_server_event(pair[s].user, &ev);
}

/* Compute the answer of slot i into the pair's answer memory. */
static void
compute(struct link_pair *p, int i)
{
	const struct slot_head *h = &p->slot[i].head;
	const char *mem = p->slot[i].mem;
	const float *rows = (const void *)(mem + slot_rows_at(h->n_route));
	float *out = (void *)(p->answer + slot_rows_at(0));
	struct slot_route r;
	uint32_t k;
	int j;

	for (k = 0; k < h->n_route; k++) {
		r = slot_route_get(mem, k);
		BUG_ON(r.row >= h->n_row);
		for (j = 0; j < H; j++)
			out[k * H + (uint32_t)j] = expert_value(
			    rows + (size_t)r.row * H, r.expert, j);
	}
}

/* Make parts of the answers in the pair's memory; the bytes of one. */
static size_t
add_up(struct link_pair *p, int i)
{
	const struct slot_head *h = &p->slot[i].head;
	const struct kern_sum sum = { (enum kern_sum_rule)h->reduce, KERN_F32,
	    H, K };
	char *at = p->answer + slot_rows_at(0), whole[SLOT];
	struct slot_route r;
	const void *row[K];
	float w[K];
	uint32_t j = 0;
	int n;

	memcpy(whole, at, sizeof(whole) - slot_rows_at(0));
	while (j < h->n_route) {
		n = 0;
		do {
			r = slot_route_get(p->slot[i].mem, j);
			row[n] = whole + (size_t)j * H * sizeof(float);
			w[n++] = r.weight;
			j++;
		} while (j < h->n_route &&
		    slot_route_get(p->slot[i].mem, j).row == r.row);
		kern_sum_part(&sum, row, w, n, at);
		at += kern_sum_bytes(&sum);
	}
	return kern_sum_bytes(&sum);
}

static void
answer_slot(int s, int i, int status, bool twist)
{
	struct link_pair *p = &pair[s];
	struct link_event ev = { 0 };

	compute(p, i);
	ev.what = LINK_ANS;
	ev.pair = p;
	ev.slot = i;
	ev.mem = p->answer;
	ev.user = p->slot[i].user;
	ev.head = p->slot[i].head;
	ev.head.kind = SLOT_ANSWER;
	ev.head.status = (uint16_t)status;
	ev.head.n_row = (uint16_t)(p->slot[i].head.n_route + (twist ? 1 : 0));
	ev.head.n_route = 0;
	if (ev.head.reduce != SLOT_REDUCE_NONE) {
		ev.head.row_bytes = (uint32_t)add_up(p, i);
		ev.head.n_row = (uint16_t)(p->slot[i].head.n_row +
		    (twist ? 1 : 0));
	}
	at_server_event(p->user, &ev);
}

#endif
