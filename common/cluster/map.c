/* map - see map.h. */
#include "map.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rec.h"

struct cell {			/* servers of one expert */
	uint16_t *server;
	float *share;
	int n;
};

struct map {
	atomic_int ref;
	uint32_t version;
	int n_layer, n_expert, n_server;
	bool *moe;
	char **name, **addr;
	size_t cap_server, cap_addr;
	struct cell *cell;	/* [n_layer][n_expert] */
};

static struct cell *
at(const struct map *m, int layer, int expert)
{
	BUG_ON(layer < 0 || layer >= m->n_layer || expert < 0 ||
	    expert >= m->n_expert);
	return &m->cell[(size_t)layer * (size_t)m->n_expert + (size_t)expert];
}

struct map *
map_new(uint32_t version, int n_layer, const bool *moe, int n_expert)
{
	struct map *m = mem_zalloc(sizeof(*m));
	int l;

	atomic_init(&m->ref, 1);
	m->version = version;
	m->n_layer = n_layer;
	m->n_expert = n_expert;
	m->moe = mem_calloc((size_t)n_layer, sizeof(*m->moe));
	for (l = 0; l < n_layer; l++)
		m->moe[l] = moe == NULL || moe[l];
	m->cell = mem_calloc((size_t)n_layer * (size_t)n_expert,
	    sizeof(*m->cell));
	return m;
}

int
map_add_server(struct map *m, const char *name, const char *addr)
{
	size_t n = (size_t)m->n_server;

	BUG_ON(n >= MAP_MAX_SERVER);
	mem_grow((void **)&m->name, &m->cap_server, n + 1, sizeof(*m->name));
	mem_grow((void **)&m->addr, &m->cap_addr, n + 1, sizeof(*m->addr));
	m->name[n] = mem_strdup(name);
	m->addr[n] = mem_strdup(addr);
	return m->n_server++;
}

void
map_add(struct map *m, int layer, int expert, int server, double share)
{
	struct cell *c = at(m, layer, expert);
	size_t n = (size_t)c->n + 1;

	BUG_ON(server < 0 || server >= m->n_server);
	if (map_holds(m, server, layer, expert))
		return;
	c->server = mem_realloc(c->server, n * sizeof(*c->server));
	c->share = mem_realloc(c->share, n * sizeof(*c->share));
	c->server[c->n] = (uint16_t)server;
	c->share[c->n] = (float)share;
	c->n++;
}

void
map_drop(struct map *m, int layer, int expert, int server)
{
	struct cell *c = at(m, layer, expert);
	int i;

	for (i = 0; i < c->n && c->server[i] != server; i++)
		;
	if (i == c->n)
		return;
	for (c->n--; i < c->n; i++) {
		c->server[i] = c->server[i + 1];
		c->share[i] = c->share[i + 1];
	}
}

void
map_weigh(struct map *m, const double *weight)
{
	int *copies = mem_calloc((size_t)m->n_server, sizeof(*copies));
	bool same = true;
	struct cell *c;
	int l, e, i;

	for (i = 1; i < m->n_server; i++)
		same = same && !(weight[i] < weight[0]) &&
		    !(weight[i] > weight[0]);
	for (l = 0; l < m->n_layer; l++) {
		memset(copies, 0, (size_t)m->n_server * sizeof(*copies));
		for (e = 0; e < m->n_expert; e++)
			for (c = at(m, l, e), i = 0; i < c->n; i++)
				copies[c->server[i]]++;
		for (e = 0; e < m->n_expert; e++)
			for (c = at(m, l, e), i = 0; i < c->n; i++)
				c->share[i] = same ? 1 :
				    (float)(weight[c->server[i]] *
				    m->n_expert / copies[c->server[i]]);
	}
	mem_free(copies);
}

void
map_set_version(struct map *m, uint32_t version)
{
	m->version = version;
}

int
map_check(const struct map *m, struct err *err)
{
	int l, e;

	for (l = 0; l < m->n_layer; l++)
		for (e = 0; m->moe[l] && e < m->n_expert; e++)
			if (at(m, l, e)->n == 0)
				return err_set(err, ERR_DATA, "map version %u: "
				    "expert %d of layer %d is on no server",
				    m->version, e, l);
	return 0;
}

struct map *
map_copy(const struct map *m)
{
	struct map *out = map_new(m->version, m->n_layer, m->moe, m->n_expert);
	const struct cell *c;
	int l, e, i;

	for (i = 0; i < m->n_server; i++)
		map_add_server(out, m->name[i], m->addr[i]);
	for (l = 0; l < m->n_layer; l++)
		for (e = 0; e < m->n_expert; e++)
			for (c = at(m, l, e), i = 0; i < c->n; i++)
				map_add(out, l, e, c->server[i],
				    (double)c->share[i]);
	return out;
}

struct map *
map_ref(struct map *m)
{
	atomic_fetch_add(&m->ref, 1);
	return m;
}

void
map_unref(struct map *m)
{
	size_t i, n;

	if (m == NULL || atomic_fetch_sub(&m->ref, 1) != 1)
		return;
	n = (size_t)m->n_layer * (size_t)m->n_expert;
	for (i = 0; i < n; i++) {
		mem_free(m->cell[i].server);
		mem_free(m->cell[i].share);
	}
	for (i = 0; i < (size_t)m->n_server; i++) {
		mem_free(m->name[i]);
		mem_free(m->addr[i]);
	}
	mem_free(m->name);
	mem_free(m->addr);
	mem_free(m->cell);
	mem_free(m->moe);
	mem_free(m);
}

/* ---- asking ---- */

uint32_t
map_version(const struct map *m)
{
	return m->version;
}

int
map_n_layer(const struct map *m)
{
	return m->n_layer;
}

int
map_n_expert(const struct map *m)
{
	return m->n_expert;
}

int
map_n_server(const struct map *m)
{
	return m->n_server;
}

bool
map_layer_moe(const struct map *m, int layer)
{
	BUG_ON(layer < 0 || layer >= m->n_layer);
	return m->moe[layer];
}

const char *
map_server_name(const struct map *m, int server)
{
	BUG_ON(server < 0 || server >= m->n_server);
	return m->name[server];
}

const char *
map_server_addr(const struct map *m, int server)
{
	BUG_ON(server < 0 || server >= m->n_server);
	return m->addr[server];
}

int
map_server_find(const struct map *m, const char *name)
{
	int i;

	for (i = 0; i < m->n_server; i++)
		if (strcmp(m->name[i], name) == 0)
			return i;
	return -1;
}

int
map_replicas(const struct map *m, int layer, int expert,
    const uint16_t **server_p)
{
	const struct cell *c = at(m, layer, expert);

	*server_p = c->server;
	return c->n;
}

double
map_share(const struct map *m, int layer, int expert, int i)
{
	const struct cell *c = at(m, layer, expert);

	BUG_ON(i < 0 || i >= c->n);
	return (double)c->share[i];
}

bool
map_holds(const struct map *m, int server, int layer, int expert)
{
	const struct cell *c = at(m, layer, expert);
	int i;

	for (i = 0; i < c->n; i++)
		if (c->server[i] == server)
			return true;
	return false;
}

/* Does every server of a's expert have it in b, too?  to: server numbers of b,
 * by those of a; -1: not there. */
static bool
cell_in(const struct map *a, const struct map *b, int l, int e, const int *to)
{
	const struct cell *c = at(a, l, e), *d = at(b, l, e);
	int i, k;

	for (i = 0; i < c->n; i++) {
		for (k = 0; k < d->n; k++)
			if (d->server[k] == to[c->server[i]])
				break;
		if (k == d->n || fabsf(d->share[k] - c->share[i]) >
		    1e-3f * c->share[i])
			return false;
	}
	return true;
}

/* Server numbers of b, by those of a; another address is another server. */
static int *
numbers(const struct map *a, const struct map *b)
{
	int *to = mem_calloc((size_t)a->n_server, sizeof(*to)), i;

	for (i = 0; i < a->n_server; i++) {
		to[i] = map_server_find(b, a->name[i]);
		if (to[i] >= 0 && strcmp(a->addr[i], b->addr[to[i]]) != 0)
			to[i] = -1;
	}
	return to;
}

bool
map_same(const struct map *a, const struct map *b)
{
	bool same = true;
	int l, e, *to;

	if (a->n_layer != b->n_layer || a->n_expert != b->n_expert)
		return false;
	to = numbers(a, b);
	for (l = 0; l < a->n_layer && same; l++)
		for (e = 0; e < a->n_expert && same; e++)
			same = at(a, l, e)->n == at(b, l, e)->n &&
			    cell_in(a, b, l, e, to);
	mem_free(to);
	return same;
}

int
map_layer_count(const struct map *m, int server, int layer)
{
	int e, n = 0;

	for (e = 0; e < m->n_expert; e++)
		n += map_holds(m, server, layer, e);
	return n;
}

int
map_count(const struct map *m, int server)
{
	int l, n = 0;

	for (l = 0; l < m->n_layer; l++)
		n += map_layer_count(m, server, l);
	return n;
}

/* ---- text ---- */

enum { C_VERSION, C_LAYERS, C_EXPERTS, C_LAYER, C_EXPERT, C_SERVER, C_ADDRESS,
    C_SHARE, C_N };

static const struct rec_col map_col[] = {
	[C_VERSION] = { "version", REC_INT, 0 },
	[C_LAYERS] = { "layers", REC_INT, 0 },
	[C_EXPERTS] = { "experts", REC_INT, 0 },
	[C_LAYER] = { "layer", REC_INT, 0 },
	[C_EXPERT] = { "expert", REC_INT, 0 },
	[C_SERVER] = { "server", REC_STR, 0 },
	[C_ADDRESS] = { "address", REC_STR, 0 },
	[C_SHARE] = { "share", REC_REAL, REC_OPTIONAL },
	[C_N] = { NULL, 0, 0 },
};

static int
write_cell(const struct map *m, struct rec_out *o, int l, int e,
    struct err *err)
{
	const struct cell *c = at(m, l, e);
	int i;

	for (i = 0; i < c->n; i++) {
		rec_put_int(o, m->version);
		rec_put_int(o, m->n_layer);
		rec_put_int(o, m->n_expert);
		rec_put_int(o, l);
		rec_put_int(o, e);
		rec_put_str(o, m->name[c->server[i]]);
		rec_put_str(o, m->addr[c->server[i]]);
		rec_put_real(o, (double)c->share[i]);
		if (rec_end(o, err) != 0)
			return -1;
	}
	return 0;
}

int
map_write(const struct map *m, FILE *fp, bool json, struct err *err)
{
	struct rec_out o;
	int l, e, rc = 0;

	rec_out_open(&o, fp, "map", 1, map_col, json);
	for (l = 0; l < m->n_layer && rc == 0; l++)
		for (e = 0; e < m->n_expert && rc == 0; e++)
			rc = write_cell(m, &o, l, e, err);
	rec_out_close(&o);
	return rc;
}

/* The sizes stand in every record; the first one's count. */
static int
first_record(struct map **m_p, const struct rec_in *in, struct err *err)
{
	int64_t nl = in->val[C_LAYERS].i, ne = in->val[C_EXPERTS].i;
	int64_t v = in->val[C_VERSION].i;
	bool *moe;

	if (nl < 1 || nl > 4096 || ne < 1 || ne > 65535 ||
	    nl * ne > MAP_MAX_CELL || v < 0 || v > UINT32_MAX)
		return err_set(err, ERR_DATA, "%s:%zu: version %lld, %lld "
		    "layers, %lld experts: out of range", in->path, in->line,
		    (long long)v, (long long)nl, (long long)ne);
	/* A layer has experts if a record says so. */
	moe = mem_calloc((size_t)nl, sizeof(*moe));
	*m_p = map_new((uint32_t)v, (int)nl, moe, (int)ne);
	mem_free(moe);
	return 0;
}

static int
take_record(struct map *m, const struct rec_in *in, struct err *err)
{
	int64_t l = in->val[C_LAYER].i, e = in->val[C_EXPERT].i;
	double share = in->val[C_SHARE].have ? in->val[C_SHARE].r : 1;
	const char *name = in->val[C_SERVER].s;
	int s;

	if (in->val[C_VERSION].i != m->version ||
	    in->val[C_LAYERS].i != m->n_layer ||
	    in->val[C_EXPERTS].i != m->n_expert)
		return err_set(err, ERR_DATA, "%s:%zu: version or sizes differ "
		    "from the first record's", in->path, in->line);
	if (l < 0 || l >= m->n_layer || e < 0 || e >= m->n_expert)
		return err_set(err, ERR_DATA, "%s:%zu: no expert %lld in layer "
		    "%lld (%d layers of %d)", in->path, in->line, (long long)e,
		    (long long)l, m->n_layer, m->n_expert);
	if (!in->val[C_SERVER].have || !in->val[C_ADDRESS].have ||
	    !(share > 0))
		return err_set(err, ERR_DATA, "%s:%zu: a server, an address and "
		    "a share above 0 are needed", in->path, in->line);
	s = map_server_find(m, name);
	if (s < 0 && m->n_server == MAP_MAX_SERVER)
		return err_set(err, ERR_DATA, "%s:%zu: more than %d servers",
		    in->path, in->line, MAP_MAX_SERVER);
	if (s < 0)
		s = map_add_server(m, name, in->val[C_ADDRESS].s);
	else if (strcmp(m->addr[s], in->val[C_ADDRESS].s) != 0)
		return err_set(err, ERR_DATA, "%s:%zu: server %s has two "
		    "addresses", in->path, in->line, name);
	m->moe[l] = true;
	map_add(m, (int)l, (int)e, s, share);
	return 0;
}

int
map_read(struct map **out, FILE *fp, const char *path, struct err *err)
{
	struct rec_in in;
	struct map *m = NULL;
	int rc;

	rec_in_open(&in, fp, path, "map", 1, map_col);
	while ((rc = rec_next(&in, err)) == 1) {
		if (m == NULL && first_record(&m, &in, err) != 0)
			break;
		if (take_record(m, &in, err) != 0)
			break;
	}
	rec_in_close(&in);
	if (rc == 0 && m == NULL)
		rc = err_set(err, ERR_DATA, "%s: an empty map", path);
	if (rc != 0 || map_check(m, err) != 0) {
		map_unref(m);
		return -1;
	}
	*out = m;
	return 0;
}

void
map_text(const struct map *m, struct str *out)
{
	char *p = NULL;
	size_t n = 0;
	FILE *fp = mem_must(open_memstream(&p, &n), 0);

	if (map_write(m, fp, false, NULL) != 0 || fclose(fp) != 0)
		mem_must(NULL, n);
	str_clear(out);
	str_add(out, p, n);
	free(p);
}

int
map_read_text(struct map **out, const void *text, size_t n, const char *path,
    struct err *err)
{
	FILE *fp;
	int rc;

	/* Reading only: it is not written to. */
	if (n == 0)
		return err_set(err, ERR_DATA, "%s: an empty map", path);
	fp = fmemopen((void *)(uintptr_t)text, n, "r");
	if (fp == NULL)
		return err_sys(err, ERR_TEMP, errno, "%s", path);
	rc = map_read(out, fp, path, err);
	fclose(fp);
	return rc;
}
