/* bench_drive - `moe-bench drive`: open-loop load on an OpenAI server. */
#include "bench_drive.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "cli.h"
#include "clock.h"
#include "num.h"

#define PROG	"moe-bench drive"

static int
parse(struct drive_opt *o, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'u', "url", CLI_STR, &o->url, "URL", "the server", 0, 0,
		    "MOE_URL" },
		{ 0, "rate", CLI_STR, &o->rate_text, "R|inf",
		    "requests a second, Poisson (default inf)", 0, 0, NULL },
		{ 0, "concurrency", CLI_INT, &o->concurrency, "N",
		    "requests in flight at most; 0: no bound", 0, 65536, NULL },
		{ 'n', "requests", CLI_INT, &o->n, "N",
		    "requests (default: one a prompt, or 100)", 1, 1000000,
		    NULL },
		{ 0, "prompts", CLI_STR, &o->prompts, "FILE",
		    "prompts, one a line: text or JSON", 0, 0, NULL },
		{ 0, "random", CLI_STR, &o->random, "IN,OUT",
		    "random prompts of IN tokens, answers of OUT", 0, 0, NULL },
		{ 0, "trace", CLI_STR, &o->trace, "FILE",
		    "arrivals and lengths, of gen or of an LLM trace", 0, 0, NULL },
		{ 'o', "output", CLI_STR, &o->summary, "FILE",
		    "summary as JSON (default: stdout)", 0, 0, NULL },
		{ 0, "records", CLI_STR, &o->records, "FILE",
		    "a record for each request", 0, 0, NULL },
		{ 0, "check", CLI_STR, &o->check_url, "URL",
		    "count tokens unlike this server's answers", 0, 0, NULL },
		{ 's', "seed", CLI_INT, &o->seed, "SEED",
		    "of arrivals, prompts and sampling (default 0)", 0, 1e15,
		    NULL },
		{ 0, "max-tokens", CLI_INT, &o->max_tokens, "N",
		    "tokens of an answer at most (default 128)", 1, 1 << 20,
		    NULL },
		{ 0, "max-input", CLI_INT, &o->max_input, "N",
		    "cut the prompts of a trace to N tokens", 1, 1 << 20,
		    NULL },
		{ 0, "vocab", CLI_INT, &o->vocab, "N",
		    "random ids are below N (default 256)", 1, 1 << 24, NULL },
		{ 0, "temperature", CLI_REAL, &o->temperature, "T",
		    "of sampling (default 0: greedy)", 0, 100, NULL },
		{ 0, "ignore-eos", CLI_FLAG, &o->ignore_eos, NULL,
		    "go on to max-tokens (always with --random, --trace)", 0, 0,
		    NULL },
		{ 0, "emu-scale", CLI_INT, &o->scale, "N",
		    "the server emulates: N seconds for one", 1,
		    CLOCK_MAX_DILATION, "MOE_EMU_SCALE" },
		{ 'm', "model", CLI_STR, &o->model, "NAME",
		    "model to ask for (default: the server's first)", 0, 0,
		    NULL },
		{ 0, "key", CLI_STR, &o->key, "KEY", "API key", 0, 0,
		    "MOE_API_KEY" },
		{ 't', "timeout", CLI_DUR, &o->limit_ns, "DUR",
		    "limit on a request; 0: none (default 10m)", 0, 0, NULL },
		{ 'q', "quiet", CLI_FLAG, &o->quiet, NULL,
		    "no table on stderr", 0, 0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "drive", "",
	    "Send requests to an OpenAI server when they are due, and measure.",
	    opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	return at < 0 ? -1 : 0;
}

static int
check_options(struct drive_opt *o, struct err *err)
{
	int n = (o->prompts != NULL) + (o->random != NULL) +
	    (o->trace != NULL);

	clock_dilate((int)o->scale);
	if (o->url == NULL)
		return err_set(err, ERR_USAGE, "-u URL is needed");
	if (n != 1)
		return err_set(err, ERR_USAGE, "one of --prompts, --random and "
		    "--trace is needed");
	if (o->rate_text == NULL || strcmp(o->rate_text, "inf") == 0)
		return 0;
	if (num_f64(o->rate_text, &o->rate) != 0 || !(o->rate > 0))
		return err_set(err, ERR_USAGE, "--rate: '%s' is not a number "
		    "above 0, nor inf", o->rate_text);
	return 0;
}

static FILE *
create(const char *path, struct err *err)
{
	FILE *fp = fopen(path, "w");

	if (fp == NULL)
		err_sys(err, ERR_USAGE, errno, "%s", path);
	return fp;
}

static int
finish_file(FILE *fp, const char *path, int rc, struct err *err)
{
	bool bad = ferror(fp) != 0;

	if ((fclose(fp) != 0 || bad) && rc == 0)
		return err_set(err, ERR_TEMP, "%s: writing failed", path);
	return rc;
}

static int
write_summary(const struct drive *d, const struct drive_sum *s,
    struct err *err)
{
	json_t *o = drive_sum_json(d, s);
	FILE *fp = stdout;
	int rc;

	if (d->o.summary != NULL && (fp = create(d->o.summary, err)) == NULL) {
		json_decref(o);
		return -1;
	}
	rc = json_dumpf(o, fp, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) == 0 &&
	    fputc('\n', fp) != EOF && fflush(fp) == 0 ? 0 :
	    err_set(err, ERR_TEMP, "the summary cannot be written");
	json_decref(o);
	return fp == stdout ? rc : finish_file(fp, d->o.summary, rc, err);
}

static int
write_records(const struct drive *d, struct err *err)
{
	FILE *fp;

	if (d->o.records == NULL)
		return 0;
	if ((fp = create(d->o.records, err)) == NULL)
		return -1;
	return finish_file(fp, d->o.records, drive_sum_records(d, fp, err),
	    err);
}

static void
say_dist(const char *name, const struct drive_dist *d)
{
	fprintf(stderr, "%-10s %10.2f %10.2f %10.2f %10.2f %10.2f\n", name,
	    d->mean, d->median, d->p90, d->p99, d->max);
}

static void
say(const struct drive *d, const struct drive_sum *s)
{
	size_t i;

	fprintf(stderr, "%zu of %zu requests in %.2f s: %.2f requests/s, "
	    "%.1f output tokens/s; %zu lost, ", s->completed, d->n_req,
	    s->duration_s, (double)s->completed / s->duration_s,
	    (double)s->output_tok / s->duration_s, s->lost);
	if (d->o.check_url != NULL)
		fprintf(stderr, "%lld tokens wrong, %zu unchecked\n",
		    (long long)s->wrong, s->unchecked);
	else
		fprintf(stderr, "not compared\n");
	fprintf(stderr, "%-10s %10s %10s %10s %10s %10s\n", "ms", "mean", "p50",
	    "p90", "p99", "max");
	say_dist("TTFT", &s->ttft);
	say_dist("TPOT", &s->tpot);
	say_dist("ITL", &s->itl);
	say_dist("E2E", &s->e2el);
	say_dist("generator", &s->late);
	for (i = 0; i < d->n_req; i++)
		if (!d->req[i].ok) {
			fprintf(stderr, "request %zu: %s\n", i, d->req[i].why);
			break;
		}
}

/* The servers may call the same model by different names. */
static char *
model_name(const struct drive *d, struct oai *c, struct err *err)
{
	return d->o.model != NULL ? mem_strdup(d->o.model) : oai_model(c, err);
}

/* Can this file be written?  Asked before the load, not after it. */
static int
writable(const char *path, struct err *err)
{
	FILE *fp;

	if (path == NULL)
		return 0;
	fp = fopen(path, "a");
	if (fp == NULL)
		return err_sys(err, ERR_USAGE, errno, "%s", path);
	fclose(fp);
	return 0;
}

static int
run(struct drive *d, struct oai *c, struct oai *check, struct err *err)
{
	struct drive_sum s;

	if (writable(d->o.summary, err) != 0 ||
	    writable(d->o.records, err) != 0)
		return -1;
	if ((d->model = model_name(d, c, err)) == NULL)
		return -1;
	if (check != NULL &&
	    (d->check_model = model_name(d, check, err)) == NULL)
		return -1;
	if (drive_run(d, c, err) != 0)
		return -1;
	if (check != NULL)
		drive_check(d, check);
	drive_sum(d, &s);
	if (!d->o.quiet)
		say(d, &s);
	if (write_summary(d, &s, err) != 0 || write_records(d, err) != 0)
		return -1;
	if (s.unchecked > 0)
		return err_set(err, ERR_TEMP, "%s did not answer %zu of the "
		    "requests", d->o.check_url, s.unchecked);
	if (s.lost > 0 || s.wrong > 0)
		return err_set(err, ERR_NO, "%zu lost, %lld tokens wrong",
		    s.lost, (long long)s.wrong);
	return 0;
}

int
bench_drive_main(int argc, char **argv)
{
	struct drive d = { .o = { .max_tokens = 128, .vocab = 256,
	    .max_input = 1 << 20, .scale = 1, .limit_ns = 600000000000ull } };
	struct err err = ERR_INIT;
	struct oai *c = NULL, *check = NULL;
	int rc;

	signal(SIGPIPE, SIG_IGN);
	rc = parse(&d.o, argc, argv, &err) == 0 &&
	    check_options(&d.o, &err) == 0 && drive_load(&d, &err) == 0 &&
	    oai_open(&c, d.o.url, d.o.key, &err) == 0 &&
	    (d.o.check_url == NULL ||
	    oai_open(&check, d.o.check_url, d.o.key, &err) == 0) &&
	    run(&d, c, check, &err) == 0 ? 0 : -1;
	oai_close(c);
	oai_close(check);
	drive_load_free(&d);
	mem_free(d.model);
	mem_free(d.check_model);
	return rc == 0 ? 0 : cli_fail(PROG, &err);
}
