/* rt_map - see rt_map.h. */
#include "rt_map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "mem.h"
#include "plan.h"

int
rt_map_plan(const struct cluster *c, const char *dir, struct map **out,
    struct err *err)
{
	struct model_cfg *cfg;
	bool *moe;
	int rc, l;

	if (config_read(&cfg, dir, err) != 0)
		return -1;
	moe = mem_calloc((size_t)cfg->n_layer, sizeof(*moe));
	for (l = 0; l < cfg->n_layer; l++)
		moe[l] = cfg->layer[l].moe;
	rc = plan_cluster(c, cfg->n_layer, moe, cfg->n_expert, out, err);
	mem_free(moe);
	config_free(cfg);
	return rc;
}

static int
to_text(const struct map *map, struct str *out, struct err *err)
{
	char *p = NULL;
	size_t n = 0;
	FILE *fp = open_memstream(&p, &n);
	int rc;

	BUG_ON(fp == NULL);
	rc = map_write(map, fp, false, err);
	fclose(fp);
	str_clear(out);
	str_add(out, p, n);
	free(p);
	return rc;
}

static void
take(struct rt_map *m, struct map *map, struct str *text)
{
	map_unref(m->map);
	str_free(&m->text);
	m->map = map;
	m->text = *text;
}

int
rt_map_make(struct rt_map *m, const struct cluster *c, const char *dir,
    bool *changed, struct err *err)
{
	struct str text = STR_INIT;
	struct map *map;

	*changed = false;
	if (dir == NULL)
		dir = c->model;
	if (dir == NULL)
		return 0;
	if (rt_map_plan(c, dir, &map, err) != 0)
		return -1;
	if (m->map != NULL)	/* same version: texts compare */
		map_set_version(map, map_version(m->map));
	if (to_text(map, &text, err) != 0)
		goto fail;
	if (m->map != NULL && strcmp(str_c(&text), str_c(&m->text)) == 0) {
		map_unref(map);
		str_free(&text);
		return 0;
	}
	if (m->map != NULL) {
		map_set_version(map, map_version(m->map) + 1);
		if (to_text(map, &text, err) != 0)
			goto fail;
	}
	take(m, map, &text);
	*changed = true;
	return 0;
fail:
	map_unref(map);
	str_free(&text);
	return -1;
}

int
rt_map_load(struct rt_map *m, const char *path, struct err *err)
{
	FILE *fp = fopen(path, "re");
	struct str text = STR_INIT;
	struct map *map;
	int rc;

	if (fp == NULL)
		return errno == ENOENT ? 0 :
		    err_sys(err, ERR_USAGE, errno, "%s", path);
	rc = map_read(&map, fp, path, err);
	fclose(fp);
	if (rc != 0)
		return -1;
	if (to_text(map, &text, err) != 0) {
		map_unref(map);
		return -1;
	}
	take(m, map, &text);
	return 0;
}

int
rt_map_save(const struct rt_map *m, const char *path, struct err *err)
{
	char *tmp = mem_printf("%s.new", path);
	FILE *fp = fopen(tmp, "we");
	bool ok = false;

	if (fp != NULL) {
		ok = fwrite(str_c(&m->text), 1, m->text.n, fp) == m->text.n &&
		    fflush(fp) == 0 && fsync(fileno(fp)) == 0;
		ok = fclose(fp) == 0 && ok && rename(tmp, path) == 0;
	}
	if (!ok)
		err_sys(err, ERR_TEMP, errno, "%s", path);
	mem_free(tmp);
	return ok ? 0 : -1;
}

void
rt_map_free(struct rt_map *m)
{
	map_unref(m->map);
	str_free(&m->text);
}
