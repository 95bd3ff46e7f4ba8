/* faults_loop.h - the loop over the faults of faults.h, which includes this. */
#ifndef MOE_FAULTS_LOOP_H
#define MOE_FAULTS_LOOP_H

#define FAULT_N_MAX	1000000	/* a run with more calls has no end */
#define FAULT_N_EACH	200	/* so many one by one, then ever fewer;
				 * unless the test says how many */

#define FAULT_PASSES	4

struct fault_try {
	const char *name;	/* of the test */
	/* Open, use and close; the same every time. */
	int (*fn)(void *arg, struct err *err);
	void *arg;
	/* One of these is in the text of each error; ends with NULL. */
	const char *about[5];
	int at_least;		/* faults that are known to hit */
	int n_each;		/* 0: FAULT_N_EACH */
};

struct fault_state {
	long live, maps;
	int n_fd;
};

static char fault_what[160];	/* for who dies of it */

static int
fault_count_fd(void)
{
	DIR *d;
	int n = 0;

	d = opendir("/proc/self/fd");
	while (d != NULL && readdir(d) != NULL)
		n++;
	if (d != NULL)
		closedir(d);
	return n;
}

static struct fault_state
fault_look(void)
{
	struct fault_state s = { 0 };

	s.n_fd = fault_count_fd();
	s.live = atomic_load(&fault.live);
	s.maps = atomic_load(&fault.maps);
	return s;
}

/* The n-th call of that kind fails; n 0: none. */
static void
fault_arm(const struct fault_kind *k, long n)
{
	fault.how = k->how;
	atomic_store(&fault.hit, false);
	atomic_store(&fault.left, n);
	atomic_store(&fault.op, n > 0 ? (int)k->op : FAULT_NONE);
}

/* true: it has failed. */
static bool
fault_disarm(void)
{
	atomic_store(&fault.op, FAULT_NONE);
	return atomic_load(&fault.hit);
}

static void
fault_died(int signo)
{
	static const char text[] = "# died of: ";

	atomic_store(&fault.op, FAULT_NONE);
	(void)!write(1, text, sizeof(text) - 1);
	(void)!write(1, fault_what, strlen(fault_what));
	(void)!write(1, "\n", 1);
	signal(signo, SIG_DFL);
	raise(signo);
}

/* NULL: fine; else what is wrong with it. */
static const char *
fault_judge(const struct fault_try *t, int rc, const struct err *e)
{
	int i;

	if (rc == 0)
		return NULL;
	if (e->code != ERR_USAGE && e->code != ERR_DATA &&
	    e->code != ERR_UNAVAIL && e->code != ERR_TEMP)
		return "no code";
	if (e->text[0] == '\0' || strchr(e->text, '\n') != NULL)
		return "no text of one line";
	if (strstr(e->text, "Success") != NULL)
		return "a reason that is none";
	for (i = 0; t->about[i] != NULL; i++)
		if (strstr(e->text, t->about[i]) != NULL)
			return NULL;
	return t->about[0] == NULL ? NULL : "a text that names nothing";
}

static const char *
fault_compare(const struct fault_state *a, const struct fault_state *b)
{
	if (b->n_fd > a->n_fd)
		return "descriptors leak";
	if (b->maps > a->maps)
		return "mappings leak";
	return b->live > a->live ? "memory leaks" : NULL;
}

/* One run with the n-th call failing.  *hit_p: there was an n-th.  NULL, or
 * what went wrong. */
static const char *
fault_one(const struct fault_try *t, const struct fault_kind *k, long n,
    bool *hit_p, struct err *e)
{
	struct fault_state before, after;
	const char *bad = NULL;
	int pass, rc;

	snprintf(fault_what, sizeof(fault_what), "%s, %s, call %ld", t->name,
	    k->name, n);
	/* What a library keeps for good is there after a few passes. */
	for (pass = 0; pass < FAULT_PASSES; pass++) {
		before = fault_look();
		memset(e, 0, sizeof(*e));
		fault_arm(k, n);
		rc = t->fn(t->arg, e);
		*hit_p = fault_disarm();
		if (rc != 0 && !*hit_p)
			return "fails without a fault";
		bad = fault_judge(t, rc, e);
		if (bad != NULL)
			return bad;
		after = fault_look();
		bad = fault_compare(&before, &after);
		if (bad == NULL)
			break;
	}
	if (bad == NULL && rc != 0 && t->fn(t->arg, e) != 0)
		return "does not work again";
	return bad;
}

static int fault_n_run;		/* faults so far, of all tests */

__attribute__((unused)) static void
faults_loop(const struct fault_try *t)
{
	struct err e = ERR_INIT;
	int n_bad = 0, n_hit = 0;
	int each = t->n_each != 0 ? t->n_each : FAULT_N_EACH;
	const char *bad;
	bool hit;
	size_t i;
	long n;

	setlinebuf(stdout);
	signal(SIGSEGV, fault_died);
	signal(SIGABRT, fault_died);
	if (t->fn(t->arg, &e) != 0) {
		OK(0, "%s: %s", t->name, e.text);
		return;
	}
	for (i = 0; i < FAULT_KINDS; i++)
		for (n = 1; n < FAULT_N_MAX; n += 1 + n / each * 7) {
			bad = fault_one(t, &fault_kind[i], n, &hit, &e);
			n_hit += hit;
			if (bad != NULL) {
				printf("# %s: call %ld: %s (%d '%s')\n",
				    fault_kind[i].name, n, bad, e.code,
				    e.text);
				n_bad++;
			}
			if (!hit || n_bad > 20)
				break;
		}
	fault_n_run += n_hit;
	EQ_INT(n_bad, 0, "%s: each fault is survived or told, nothing leaks",
	    t->name);
	if (!OK(n_hit >= t->at_least, "%s: there were faults", t->name))
		printf("#   %d of them, want %d\n", n_hit, t->at_least);
	printf("# %s: %d faults\n", t->name, n_hit);
}

#endif
