/*
 * at_map - a new map from the router, while rows are in flight.
 *
 * Servers are matched by name and address.  Those that stay keep their pair
 * and their calls; new ones are dialled; the calls of those that left go to
 * others.  A server that has not loaded what the map gives it says so by HOLD,
 * so a map that is ahead of the servers costs time only.
 */
#include <stdio.h>
#include <string.h>

#include "at_call.h"
#include "log.h"

static bool
fits(const struct at_disp *d, const struct map *map)
{
	const struct model_cfg *c = d->o.cfg;
	int l;

	if (map_n_layer(map) != c->n_layer || map_n_expert(map) != c->n_expert)
		return false;
	for (l = 0; l < c->n_layer; l++)
		if (map_layer_moe(map, l) != c->layer[l].moe)
			return false;
	return true;
}

/* The server of the old map that is number i of the new one; NULL: none. */
static struct at_server *
take_old(struct at_server **old, int n_old, const struct map *map, int i)
{
	struct at_server *s;
	int k;

	for (k = 0; k < n_old; k++) {
		s = old[k];
		if (s == NULL || strcmp(s->name, map_server_name(map, i)) != 0 ||
		    strcmp(s->addr, map_server_addr(map, i)) != 0)
			continue;
		old[k] = NULL;
		s->index = i;
		return s;
	}
	return NULL;
}

int
at_map_use(struct at_disp *d, struct map *map, struct err *err)
{
	struct at_server **old = d->server, *s;
	int n_old = d->n_server, n = map_n_server(map), i;
	struct map *was = d->map;

	if (!fits(d, map))
		return err_set(err, ERR_DATA, "map version %u is of another "
		    "model", map_version(map));
	d->map = map_ref(map);
	d->server = mem_calloc((size_t)n, sizeof(*d->server));
	d->n_server = 0;
	for (i = 0; i < n; i++) {
		s = take_old(old, n_old, map, i);
		if (s == NULL && at_server_open(&s, d, i, err) != 0)
			break;
		d->server[d->n_server++] = s;
	}
	if (i < n) {
		/* An address that cannot be dialled: stay with the old map. */
		for (i = 0; i < d->n_server; i++) {
			s = d->server[i];
			s->index = map_server_find(was, s->name);
			if (s->index >= 0 && old[s->index] == NULL)
				old[s->index] = s;
			else
				at_server_close(s);
		}
		mem_free(d->server);
		map_unref(d->map);
		d->server = old;
		d->n_server = n_old;
		d->map = was;
		return -1;
	}
	for (i = 0; i < n_old; i++)
		if (old[i] != NULL)
			at_server_close(old[i]);
	mem_free(old);
	map_unref(was);
	at_disp_news(d);
	return 0;
}

void
at_map_event(struct at_disp *d, const struct link_event *ev)
{
	struct err err = ERR_INIT;
	struct map *map;
	FILE *fp;
	int rc;

	if (ev->what != LINK_MSG || ev->type != LINK_MSG_MAP || d->map == NULL ||
	    ev->n == 0)
		return;
	fp = fmemopen((void *)(uintptr_t)ev->data, ev->n, "r");
	if (fp == NULL)
		return;
	rc = map_read(&map, fp, "the router's map", &err);
	fclose(fp);
	if (rc == 0 && map_version(map) > map_version(d->map)) {
		rc = at_map_use(d, map, &err);
		if (rc == 0)
			log_info("map version %u: %d servers",
			    map_version(map), map_n_server(map));
		map_unref(map);
	} else if (rc == 0) {
		map_unref(map);
	}
	if (rc != 0)
		log_warn("%s", err.text);
}
