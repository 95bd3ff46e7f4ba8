/* rt_turn - see rt_turn.h. */
#include "rt_turn.h"

#include <string.h>

void
rt_turn_cancel(struct rt_turn *t)
{
	int s;

	if (t->next == NULL)
		return;
	for (s = 0; s < map_n_server(t->next); s++)
		hold_free(&t->add[s]);
	mem_free(t->add);
	t->add = NULL;
	map_unref(t->next);
	t->next = NULL;
}

void
rt_turn_start(struct rt_turn *t, struct map *m)
{
	rt_turn_free(t);
	VEC_PUSH(&t->use, m);
}

void
rt_turn_free(struct rt_turn *t)
{
	size_t i;

	rt_turn_cancel(t);
	for (i = 0; i < t->use.n; i++)
		map_unref(t->use.p[i]);
	VEC_FREE(&t->use);
}

struct map *
rt_turn_now(const struct rt_turn *t)
{
	return t->use.n == 0 ? NULL : t->use.p[t->use.n - 1];
}

struct map *
rt_turn_goal(const struct rt_turn *t)
{
	return t->next != NULL ? t->next : rt_turn_now(t);
}

uint32_t
rt_turn_version(const struct rt_turn *t)
{
	return t->use.n == 0 ? 0 : map_version(rt_turn_now(t));
}

bool
rt_turn_still(const struct rt_turn *t)
{
	return t->next == NULL && t->use.n <= 1;
}

void
rt_turn_bits(const struct map *m, int s, struct hold *out)
{
	int l, e;

	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			if (map_holds(m, s, l, e))
				hold_set(out, (uint32_t)l, (uint32_t)e, true);
}

/* What the next map gives to server s and the map does not. */
static void
added(const struct rt_turn *t, int s, struct hold *out)
{
	const struct map *now = rt_turn_now(t), *m = t->next;
	int l, e, was = map_server_find(now, map_server_name(m, s));

	if (was >= 0 && strcmp(map_server_addr(now, was),
	    map_server_addr(m, s)) != 0)
		was = -1;
	hold_init(out, (uint32_t)map_n_layer(m), (uint32_t)map_n_expert(m));
	for (l = 0; l < map_n_layer(m); l++)
		for (e = 0; e < map_n_expert(m); e++)
			if (map_holds(m, s, l, e) &&
			    (was < 0 || !map_holds(now, was, l, e)))
				hold_set(out, (uint32_t)l, (uint32_t)e, true);
}

void
rt_turn_aim(struct rt_turn *t, struct map *m)
{
	int s, n = map_n_server(m);

	BUG_ON(t->use.n == 0);
	rt_turn_cancel(t);
	map_set_version(m, rt_turn_version(t) + 1);
	t->next = m;
	t->add = mem_calloc((size_t)n, sizeof(*t->add));
	for (s = 0; s < n; s++)
		added(t, s, &t->add[s]);
}

bool
rt_turn_loaded(const struct rt_turn *t, rt_turn_holds_fn *has_of, void *arg,
    const char **who_p)
{
	const struct hold *has;
	int s;

	for (s = 0; t->next != NULL && s < map_n_server(t->next); s++) {
		if (hold_count(&t->add[s]) == 0)
			continue;
		has = has_of(arg, map_server_name(t->next, s));
		if (has != NULL && hold_covers(has, &t->add[s]))
			continue;
		if (who_p != NULL)
			*who_p = map_server_name(t->next, s);
		return false;
	}
	return true;
}

void
rt_turn_publish(struct rt_turn *t)
{
	struct map *m = map_ref(t->next);

	rt_turn_cancel(t);
	VEC_PUSH(&t->use, m);
}

void
rt_turn_used(struct rt_turn *t, uint32_t version)
{
	size_t i, k = 0;

	for (i = 0; i < t->use.n; i++) {
		if (i + 1 < t->use.n && map_version(t->use.p[i]) < version)
			map_unref(t->use.p[i]);
		else
			t->use.p[k++] = t->use.p[i];
	}
	t->use.n = k;
}

void
rt_turn_renumber(struct rt_turn *t, uint32_t version)
{
	struct map *m = map_copy(rt_turn_now(t));

	map_set_version(m, version);
	VEC_PUSH(&t->use, m);
	if (t->next != NULL)
		map_set_version(t->next, version + 1);
}

void
rt_turn_want(const struct rt_turn *t, const char *server, struct hold *out)
{
	size_t i;
	int s;

	for (i = 0; i < t->use.n; i++)
		if ((s = map_server_find(t->use.p[i], server)) >= 0)
			rt_turn_bits(t->use.p[i], s, out);
	if (t->next != NULL && (s = map_server_find(t->next, server)) >= 0)
		rt_turn_bits(t->next, s, out);
}
