/* device - see device.h. */
#include "device.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mem.h"
#include "num.h"
#include "rec.h"
#include "str.h"

/* hidden, inter, heads, KV heads, head size, experts, top-k, layers, vocab;
 * from the models' config.json.  -mqa: one KV head, as AMoE changes Mixtral;
 * moe16-mqa is its scaled model, 16 experts of that size and top-1. */
static const struct {
	const char *name;
	struct emu_shape s;
} shapes[] = {
	{ "mixtral", { 4096, 14336, 32, 8, 128, 8, 2, 32, 32000, 0 } },
	{ "mixtral-mqa", { 4096, 14336, 32, 1, 128, 8, 2, 32, 32000, 0 } },
	{ "moe16-mqa", { 4096, 14336, 32, 1, 128, 16, 1, 32, 32000, 0 } },
	{ "olmoe", { 2048, 1024, 16, 16, 128, 64, 8, 16, 50304, 0 } },
	{ "qwen3-30b", { 2048, 768, 32, 4, 128, 128, 8, 48, 151936, 0 } },
	/* Attention as wide as its 576 latent values, for all heads. */
	{ "dsv3", { 7168, 2048, 128, 1, 288, 256, 8, 58, 129280, 0 } },
};

static const struct {
	const char *key;
	size_t at;
	bool share;		/* 0 .. 1 */
} keys[] = {
#define K(name, share)	{ #name, offsetof(struct emu_device, name), share }
	K(flop_s, false), K(byte_s, false), K(flop_share, true),
	K(byte_share, true), K(launch_us, false), K(attn_us, false),
	K(expert_us, false), K(link_us, false), K(link_byte_s, false),
	K(collective_us, false),
#undef K
};
#define N_KEY	(sizeof(keys) / sizeof(keys[0]))

enum { C_KEY, C_VALUE, C_SOURCE, C_N };
static const struct rec_col col[] = {
	[C_KEY] = { "key", REC_STR, 0 },
	[C_VALUE] = { "value", REC_REAL, 0 },
	[C_SOURCE] = { "source", REC_STR, 0 },
	[C_N] = { NULL, 0, 0 },
};

int
device_shape(const char *name, struct emu_shape *out, struct err *err)
{
	size_t i;

	for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
		if (strcmp(shapes[i].name, name) == 0) {
			*out = shapes[i].s;
			return 0;
		}
	return err_set(err, ERR_USAGE, "shape '%s' is none of " DEVICE_SHAPES,
	    name);
}

static double *
field(struct emu_device *d, size_t key)
{
	return (double *)(void *)((char *)d + keys[key].at);
}

static int
put_key(struct emu_device *d, bool *seen, const struct rec_in *in,
    struct err *err)
{
	const struct rec_val *k = &in->val[C_KEY], *v = &in->val[C_VALUE];
	size_t i;

	for (i = 0; i < N_KEY; i++)
		if (k->have && strcmp(k->s, keys[i].key) == 0)
			break;
	if (i == N_KEY)
		return err_set(err, ERR_DATA, "%s:%zu: no key of a device",
		    in->path, in->line);
	if (!v->have || !(v->r >= 0) || (keys[i].share &&
	    !(v->r > 0 && v->r <= 1)))
		return err_set(err, ERR_DATA, "%s:%zu: %s is not a number from "
		    "0 on%s", in->path, in->line, k->s,
		    keys[i].share ? " to 1" : "");
	*field(d, i) = v->r;
	seen[i] = true;
	return 0;
}

static int
read_device(FILE *fp, const char *path, struct emu_device *d, struct err *err)
{
	bool seen[N_KEY] = { false };
	struct rec_in in;
	size_t i;
	int rc;

	rec_in_open(&in, fp, path, "device", 1, col);
	while ((rc = rec_next(&in, err)) == 1 &&
	    (rc = put_key(d, seen, &in, err)) == 0)
		continue;
	rec_in_close(&in);
	for (i = 0; rc == 0 && i < N_KEY; i++)
		if (!seen[i])
			rc = err_set(err, ERR_DATA, "%s: %s is missing", path,
			    keys[i].key);
	if (rc == 0 && (d->flop_s <= 0 || d->byte_s <= 0 ||
	    d->link_byte_s <= 0))
		rc = err_set(err, ERR_DATA, "%s: flop_s, byte_s and "
		    "link_byte_s must be above 0", path);
	return rc;
}

/* The folder of the program, "" when /proc cannot tell. */
static void
own_dir(char *out, size_t n)
{
	ssize_t len = readlink("/proc/self/exe", out, n - 1);
	char *slash;

	out[len > 0 ? len : 0] = '\0';
	if ((slash = strrchr(out, '/')) != NULL)
		*slash = '\0';
}

/* Open the device's file; *path is the caller's to mem_free. */
static FILE *
open_device(const char *name, char **path)
{
	const char *env = getenv("MOE_DEVICES");
	char dir[4096];
	const char *const below[] = { "share/moe/devices",
	    "kernels/emu/devices", "../../kernels/emu/devices" };
	FILE *fp = NULL;
	size_t i;

	*path = NULL;
	if (strchr(name, '/') != NULL) {
		*path = mem_strdup(name);
		return fopen(name, "r");
	}
	if (env != NULL) {
		*path = mem_printf("%s/%s.tsv", env, name);
		fp = fopen(*path, "r");
	}
	own_dir(dir, sizeof(dir));
	for (i = 0; fp == NULL && i < sizeof(below) / sizeof(below[0]); i++) {
		mem_free(*path);
		*path = mem_printf("%s/../%s/%s.tsv", dir, below[i], name);
		fp = fopen(*path, "r");
	}
	return fp;
}

static void
set_name(struct emu_device *d, const char *name)
{
	const char *base = strrchr(name, '/');

	base = base != NULL ? base + 1 : name;
	snprintf(d->name, sizeof(d->name), "%.*s",
	    (int)strcspn(base, "."), base);
}

int
device_find(const char *name, struct emu_device *out, struct err *err)
{
	char *path;
	FILE *fp = open_device(name, &path);
	int rc;

	memset(out, 0, sizeof(*out));
	if (fp == NULL) {
		mem_free(path);
		return err_set(err, ERR_USAGE, "device '%s' is not known: no "
		    "such file, neither in $MOE_DEVICES nor among those of "
		    "this installation (a100-40, a100-80, a100-80-amoe, "
		    "h100, h200)", name);
	}
	rc = read_device(fp, path, out, err);
	fclose(fp);
	mem_free(path);
	set_name(out, name);
	return rc;
}

int
device_parse(const char *spec, struct emu_opt *o, struct err *err)
{
	char *s, *save = NULL, *w;
	int rc = 0;

	if (strncmp(spec, "emu:", 4) != 0 || spec[4] == '\0')
		return err_set(err, ERR_USAGE, "device '%s' is none of cpu, "
		    "cuda and emu:NAME", spec);
	memset(&o->as, 0, sizeof(o->as));
	o->skip = o->no_link = false;
	s = mem_strdup(spec + 4);
	w = strtok_r(s, ",", &save);
	rc = w == NULL ? err_set(err, ERR_USAGE, "device '%s' has no name",
	    spec) : device_find(w, &o->device, err);
	while (rc == 0 && (w = strtok_r(NULL, ",", &save)) != NULL) {
		if (strcmp(w, "skip") == 0)
			o->skip = true;
		else if (strcmp(w, "nolink") == 0)
			o->no_link = true;
		else if (strncmp(w, "as=", 3) == 0)
			rc = device_shape(w + 3, &o->as, err);
		else
			rc = err_set(err, ERR_USAGE, "device '%s': '%s' is "
			    "none of skip, nolink and as=SHAPE", spec, w);
	}
	mem_free(s);
	return rc;
}

int
device_write(const struct emu_device *d, const char *source, FILE *fp,
    struct err *err)
{
	struct emu_device copy = *d;
	struct rec_out o;
	size_t i;
	int rc = 0;

	rec_out_open(&o, fp, "device", 1, col, false);
	for (i = 0; rc == 0 && i < N_KEY; i++) {
		rec_put_str(&o, keys[i].key);
		rec_put_real(&o, *field(&copy, i));
		rec_put_str(&o, source);
		rc = rec_end(&o, err);
	}
	rec_out_close(&o);
	return rc;
}

const char *
device_say(const struct kern *kn, char out[DEVICE_SAY])
{
	char busy[NUM_TEXT], late[NUM_TEXT];
	struct emu_stats s;

	emu_stats(kn, &s);
	if (s.ops == 0)
		return NULL;
	snprintf(out, DEVICE_SAY, "emulated: busy %s in %llu operations; %.1f s "
	    "of real time, %.1f s of CPU, %.1f s of it in operations; latest "
	    "sleep %s; times are wrong by at most %.2f %%",
	    num_dur_text(s.busy_ns, busy), (unsigned long long)s.ops,
	    (double)s.real_ns / 1e9, (double)s.cpu_ns / 1e9,
	    (double)s.compute_ns / 1e9, num_dur_text(s.late_max_ns, late),
	    100 * emu_error(&s));
	return out;
}
