/*
 * Fault loops over what reads and writes files: base, wire, model, cluster.
 * See faults.h.
 */
#include <sys/wait.h>

#include "chat.h"
#include "ckpt.h"
#include "cluster.h"
#include "config.h"
#include "event_log.h"
#include "faults.h"
#include "lines.h"
#include "log.h"
#include "mac.h"
#include "map.h"
#include "model.h"
#include "rec.h"
#include "scratch.h"
#include "skew.h"
#include "store.h"
#include "token.h"
#include "zbuf.h"

static char *tiny;		/* a small model of the tree */
static struct kern *kn;

/* ---- base and wire ------------------------------------------------------- */

static int
read_lines(void *arg, struct err *err)
{
	struct str s = STR_INIT;
	int rc;

	rc = lines_load(&s, arg, 1 << 20, err);
	str_free(&s);
	return rc;
}

enum { C_S, C_I };
static const struct rec_col col[] = {
	[C_S] = { "s", REC_STR, 0 },
	[C_I] = { "i", REC_INT, 0 },
	{ NULL, 0, 0 }
};

static int
write_records(void *arg, struct err *err)
{
	FILE *f = fopen(arg, "we");
	struct rec_out o;
	int i, rc = 0;

	if (f == NULL)
		return err_sys(err, ERR_TEMP, errno, "%s", (char *)arg);
	rec_out_open(&o, f, "t", 1, col, false);
	for (i = 0; i < 3 && rc == 0; i++) {
		rec_put_str(&o, "text");
		rec_put_int(&o, i);
		rc = rec_end(&o, err);
	}
	rec_out_close(&o);
	fclose(f);
	return rc;
}

/* All three, or -1: a read that fails is not the end of the stream. */
static int
read_records(void *arg, struct err *err)
{
	FILE *f = fopen(arg, "re");
	struct rec_in in;
	int n = 0, rc;

	if (f == NULL)
		return err_sys(err, ERR_TEMP, errno, "%s", (char *)arg);
	rec_in_open(&in, f, arg, "t", 1, col);
	while ((rc = rec_next(&in, err)) > 0)
		n++;
	if (rc == 0 && n != 3 && fault.how != FAULT_END)
		rc = err_set(err, ERR_BUG, "%d records of 3", n);
	rec_in_close(&in);
	fclose(f);
	return rc;
}

static int
pack_and_unpack(void *arg, struct err *err)
{
	static const char text[10000];
	struct str z = STR_INIT, back = STR_INIT;
	int rc = 0;

	(void)arg;
	if (zbuf_have() && zbuf_pack(&z, text, sizeof(text)))
		rc = zbuf_unpack(&back, z.p, z.n, sizeof(text), err);
	str_free(&z);
	str_free(&back);
	return rc;
}

static void
test_base(void)
{
	char *path = mem_printf("%s/records", scratch_dir);
	const struct fault_try t[] = {
		{ "records are written", write_records, path,
		    { "records", "write" }, 4, 0 },
		{ "records are read", read_records, path, { "records" }, 3, 0 },
		{ "lines", read_lines, path, { "records" }, 3, 0 },
		{ "zstd", pack_and_unpack, NULL, { "zstd", "pack" }, 0, 0 },
	};
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		faults_loop(&t[i]);
	mem_free(path);
}

/* ---- cluster ------------------------------------------------------------- */

static int
read_cluster(void *arg, struct err *err)
{
	struct cluster *c;

	if (cluster_read(&c, arg, err) != 0)
		return -1;
	cluster_free(c);
	return 0;
}

static int
read_map(void *arg, struct err *err)
{
	struct map *m = map_new(1, 2, NULL, 2), *back;
	struct str s = STR_INIT;
	int l, e, rc;

	(void)arg;
	map_add_server(m, "e1", "shm:/e1");
	for (l = 0; l < 2; l++)
		for (e = 0; e < 2; e++)
			map_add(m, l, e, 0, 1);
	fault_off = true;	/* it aborts, as mem.h does */
	map_text(m, &s);
	fault_off = false;
	map_unref(m);
	rc = map_read_text(&back, str_c(&s), s.n, "the map", err);
	if (rc == 0)
		map_unref(back);
	str_free(&s);
	return rc;
}

static int
log_events(void *arg, struct err *err)
{
	if (event_log_open(arg, "test", err) != 0)
		return -1;
	event_log_put("e1", "noticed", "kill");
	event_log_close();
	return 0;
}

static int
read_skew(void *arg, struct err *err)
{
	struct skew *s;

	if (skew_open(&s, arg, 2, 4, 1, err) != 0)
		return -1;
	skew_close(s);
	return 0;
}

static void
test_cluster(void)
{
	static const char text[] = "moe-cluster 1\nmodel m\n"
	    "expert e1 shm:/e1\nfront f1 127.0.0.1:0\n";
	static const char counts[] = "domain,layer,e0,e1,e2,e3\n"
	    "a,0,1,2,3,4\na,1,4,3,2,1\n";
	char *file = mem_printf("%s/cluster", scratch_dir);
	char *log = mem_printf("%s/events", scratch_dir);
	char *skew = mem_printf("counts:%s/counts", scratch_dir);
	const struct fault_try t[] = {
		{ "a cluster file", read_cluster, file, { "cluster" }, 3, 0 },
		{ "a map as text", read_map, NULL, { "map" },
		    FAULT_HAS_MEMORY, 0 },
		{ "the log of events", log_events, log, { "events" }, 2, 0 },
		{ "counts of experts", read_skew, skew, { "counts" }, 3, 0 },
	};
	size_t i;

	scratch_write("cluster", text, sizeof(text) - 1);
	scratch_write("counts", counts, sizeof(counts) - 1);
	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		faults_loop(&t[i]);
	mem_free(file);
	mem_free(log);
	mem_free(skew);
}

/* ---- model --------------------------------------------------------------- */

static int
open_model(void *arg, struct err *err)
{
	struct model *m;
	uint64_t print;
	int rc;

	if (model_open(&m, arg, err) != 0)
		return -1;
	rc = model_fingerprint(m, &print, err);
	model_close(m);
	return rc;
}

static int
load_weights(void *arg, struct err *err)
{
	struct kern_expert x[2];
	const struct store_pick pick[2] = { { 0, 0 }, { 0, 1 } };
	const struct store_many many = { .kn = kn, .m = arg, .pick = pick,
	    .n = 2, .threads = 2 };
	struct model_ref r;
	struct kern_mat mat;
	struct store_mat q = { .kn = kn, .m = arg, .ref = &r, .n_ref = 1,
	    .dtype = KERN_F32 };
	float *v;
	int i;

	if (!model_ref(arg, MODEL_FINAL_NORM, 0, 0, &r))
		return err_set(err, ERR_BUG, "no final norm");
	v = store_load_vec(arg, &r, err);
	mem_free(v);
	if (v == NULL || !model_ref(arg, MODEL_Q, 0, 0, &r))
		return -1;
	if (store_load_mat(&q, &mat, err) != 0)
		return -1;
	store_free_mat(kn, &mat);
	if (store_load_many(&many, x, err) != 0)
		return -1;
	for (i = 0; i < 2; i++)
		store_free_expert(kn, &x[i]);
	return 0;
}

static int
use_tokens(void *arg, struct err *err)
{
	static const char say[] = "Once upon a time, there were 3 owls.";
	const struct token_text in = { .p = say, .n = sizeof(say) - 1 };
	struct token_ids ids = { 0 };
	struct str back = STR_INIT;
	struct token *t;
	int rc;

	if (token_load(&t, arg, err) != 0)
		return -1;
	rc = token_encode(t, &in, &ids, err);
	if (rc == 0)
		token_decode(t, ids.p, ids.n, false, &back);
	if (rc == 0 && strstr(str_c(&back), say) == NULL)
		rc = err_set(err, ERR_BUG, "'%s'", str_c(&back));
	str_free(&back);
	VEC_FREE(&ids);
	token_free(t);
	return rc;
}

static int
render(void *arg, struct err *err)
{
	struct chat_text out = CHAT_TEXT_INIT;
	struct chat *c;
	json_t *vars;
	int rc;

	if (chat_load(&c, arg, NULL, err) != 0)
		return -1;
	fault_off = true;
	vars = json_pack("{s:[{s:s,s:s}],s:b}", "messages", "role", "user",
	    "content", "Hello", "add_generation_prompt", 1);
	fault_off = false;
	rc = chat_render(c, vars, &out, err);
	if (rc == 0 && strstr(str_c(&out.text), "Hello") == NULL)
		rc = err_set(err, ERR_BUG, "'%s'", str_c(&out.text));
	json_decref(vars);
	chat_text_free(&out);
	chat_free(c);
	return rc;
}

static void
test_model(void)
{
	struct err e = ERR_INIT;
	struct model *m;
	const struct fault_try t[] = {
		{ "a model is opened", open_model, tiny,
		    { "json", "safetensors", "memory" }, 100, 0 },
		{ "a tokenizer", use_tokens, tiny,
		    { "json", "memory" }, 10, 0 },
		{ "a template", render, tiny,
		    { "template", "json", "memory" }, 10, 0 },
	};
	struct fault_try w = { "weights are loaded", load_weights, NULL,
	    { "safetensors", "memory" }, 10, 0 };
	size_t i;

	for (i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		faults_loop(&t[i]);
	if (!OK(model_open(&m, tiny, &e) == 0, "the model opens: %s", e.text))
		return;
	w.arg = m;
	faults_loop(&w);
	model_close(m);
}

/* ---- our own memory: an abort that says what it is ----------------------- */

static void
test_abort(void)
{
	static const char want[] = "out of memory (12345 bytes wanted)\n";
	char said[200] = "";
	int fd[2], status;
	ssize_t n;
	pid_t pid;

	if (pipe(fd) != 0 || (pid = fork()) < 0)
		exit(1);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		dup2(fd[1], 2);
		fault.all_memory = true;
		fault_arm(&fault_kind[0], 1);
		mem_free(mem_alloc(12345));
		_exit(0);
	}
	close(fd[1]);
	n = read(fd[0], said, sizeof(said) - 1);
	close(fd[0]);
	OK(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) &&
	    WTERMSIG(status) == SIGABRT, "no memory of our own: an abort");
	OK(n > 0 && strstr(said, want) != NULL, "which says so");
}

int
main(void)
{
	const struct kern_opt ko = { .backend = "cpu", .act = KERN_F32,
	    .threads = 1 };
	char why[KERN_WHY];

	tiny = scratch_root("tests/golden/models/olmoe");
	scratch_begin();
	if (kern_open(&kn, &ko, why) != 0) {
		printf("Bail out! %s\n", why);
		return 1;
	}
	if (FAULT_HAS_MEMORY)
		test_abort();
	test_base();
	test_cluster();
	test_model();
	kern_close(kn);
	mem_free(tiny);
	return tap_done();
}
