/* fs_order - see fs_steps.h: orders to the router.  A move needs two commands:
 * one asks for the map, in which copies and places for them are drawn, and one
 * moves them. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "map.h"
#include "mem.h"
#include "str.h"
#include "fs_steps.h"

#define MAX_MAP		(64u << 20)
#define TRIES		1000

static char *
map_file(const struct fs_steps *s)
{
	return mem_printf("%s/.failsim-map", s->dir);
}

static int
run(struct fs_steps *s, const char *verb, const char *rest,
    struct fs_undo *u, struct err *err)
{
	char *text = mem_printf("'%s' %s -f '%s/cluster.conf' %s", s->route,
	    verb, s->dir, rest);
	int rc = fs_procs_command(s->dir, text, &u->pid, err);

	mem_free(text);
	return rc;
}

int
fs_order_begin(struct fs_steps *s, const struct fs_step *step,
    struct fs_undo *u, struct err *err)
{
	char *file, *rest;
	int rc;

	if (step->action == FS_DEAD)
		return run(s, "dead", u->id, u, err);
	if (step->action == FS_DRAIN)
		return run(s, "drain", u->id, u, err);
	file = map_file(s);
	rest = mem_printf("--map >'%s'", file);
	rc = run(s, "status", rest, u, err);
	mem_free(rest);
	mem_free(file);
	return rc;
}

/* ---- a move ---- */

/* Who has expert e of layer l of m, as the i-th of its copies. */
static int
holder(const struct map *m, int l, int e, int i)
{
	const uint16_t *list;

	return map_replicas(m, l, e, &list) > i ? list[i] : -1;
}

/* A layer, and two servers, such that the one has what the other has not. */
static bool
draw(struct fs_steps *s, const struct map *m, int *layer, int *from, int *to)
{
	const uint16_t *list;
	int i, e;

	for (i = 0; i < TRIES; i++) {
		*layer = (int)rng_below(&s->rng, (uint64_t)map_n_layer(m));
		e = (int)rng_below(&s->rng, (uint64_t)map_n_expert(m));
		*to = (int)rng_below(&s->rng, (uint64_t)map_n_server(m));
		if (!map_layer_moe(m, *layer) ||
		    map_replicas(m, *layer, e, &list) == 0 ||
		    map_holds(m, *to, *layer, e))
			continue;
		*from = holder(m, *layer, e, (int)rng_below(&s->rng,
		    (uint64_t)map_replicas(m, *layer, e, &list)));
		return true;
	}
	return false;
}

/* Up to n experts of the layer that go from one to the other: "3:1,3:7". */
static void
list_experts(struct str *out, const struct map *m, int layer, int from,
    int to, int n)
{
	int e;

	str_addf(out, "%d:", layer);
	for (e = 0; e < map_n_expert(m) && n > 0; e++) {
		if (!map_holds(m, from, layer, e) ||
		    map_holds(m, to, layer, e))
			continue;
		if (out->p[out->n - 1] != ':')
			str_addf(out, ",%d:", layer);
		str_addf(out, "%d", e);
		n--;
	}
}

static int
move(struct fs_steps *s, const struct map *m, struct fs_undo *u,
    struct err *err)
{
	struct str rest = STR_INIT;
	int layer, from, to, rc;

	if (!draw(s, m, &layer, &from, &to))
		return err_set(err, ERR_TEMP, "every server has everything");
	str_addf(&rest, "--wait ");
	list_experts(&rest, m, layer, from, to, u->step->n_move);
	str_addf(&rest, " %s %s", map_server_name(m, from),
	    map_server_name(m, to));
	str_adds(&rest, " >/dev/null");
	rc = run(s, "move", str_c(&rest), u, err);
	str_free(&rest);
	return rc;
}

int
fs_order_go_on(struct fs_steps *s, struct fs_undo *u, struct err *err)
{
	char *file;
	struct str text = STR_INIT;
	struct map *m = NULL;
	int rc;

	if (u->asked)
		return 0;
	u->asked = true;
	file = map_file(s);
	rc = str_read_file(&text, file, MAX_MAP) != 0 ?
	    err_set(err, ERR_TEMP, "%s: no map came", file) :
	    map_read_text(&m, str_c(&text), text.n, file, err);
	unlink(file);
	mem_free(file);
	if (rc == 0)
		rc = move(s, m, u, err);
	map_unref(m);
	str_free(&text);
	return rc == 0 ? 1 : -1;
}
