/* rt_load - see rt_load.h. */
#include "rt_load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "num.h"
#include "sorted.h"

void
rt_load(double *v, size_t n, struct rt_load *out)
{
	double dev = 0, rank = 0;
	size_t i;

	*out = (struct rt_load){ 0, 0, 0, NAN, NAN, NAN };
	if (n == 0)
		return;
	sorted_f64(v, n);
	for (i = 0; i < n; i++)
		out->total += v[i];
	out->mean = out->total / (double)n;
	out->max = v[n - 1];
	if (!(out->total > 0))
		return;
	for (i = 0; i < n; i++) {
		dev += (v[i] - out->mean) * (v[i] - out->mean);
		rank += (2 * (double)i + 1 - (double)n) * v[i];
	}
	out->ratio = out->max / out->mean;
	out->gini = rank / ((double)n * out->total);
	out->cv = sqrt(dev / (double)n) / out->mean;
}

void
rt_load_servers(const struct map *m, int layer, const double *count,
    double *load)
{
	const uint16_t *server;
	double sum;
	int e, i, n;

	for (e = 0; e < map_n_expert(m); e++) {
		n = map_replicas(m, layer, e, &server);
		for (sum = 0, i = 0; i < n; i++)
			sum += map_share(m, layer, e, i);
		for (i = 0; i < n; i++)
			load[server[i]] += count[e] *
			    map_share(m, layer, e, i) / sum;
	}
}

int
rt_counts_head(const char *text, struct err *err)
{
	return strncmp(text, "domain,layer,e0", 15) == 0 ? 0 :
	    err_set(err, ERR_DATA, "-:1: neither a map (#moe:map/1) nor counts "
	    "(domain,layer,e0,...)");
}

static char *
cell(char **rest)
{
	char *p = *rest, *comma;

	if (p == NULL)
		return NULL;
	if ((comma = strchr(p, ',')) != NULL)
		*comma++ = '\0';
	*rest = comma;
	return p;
}

int
rt_counts_line(struct rt_counts *c, char *text, struct err *err)
{
	char *rest = text, *w;
	int64_t layer;
	double v;

	c->domain = cell(&rest);
	w = cell(&rest);
	if (w == NULL || num_i64(w, &layer) != 0 || layer < 0 || layer > 4095)
		return err_set(err, ERR_DATA, "-:%d: no domain and layer",
		    c->line);
	c->layer = (int)layer;
	c->n = 0;
	while ((w = cell(&rest)) != NULL) {
		if (num_f64(w, &v) != 0 || v < 0 || c->n == RT_COUNTS_MAX)
			return err_set(err, ERR_DATA, "-:%d: '%s' is not a "
			    "count", c->line, w);
		mem_grow((void **)&c->v, &c->cap, c->n + 1, sizeof(*c->v));
		c->v[c->n++] = v;
	}
	return c->n > 0 ? 0 : err_set(err, ERR_DATA, "-:%d: no counts",
	    c->line);
}

void
rt_counts_free(struct rt_counts *c)
{
	mem_free(c->v);
}
