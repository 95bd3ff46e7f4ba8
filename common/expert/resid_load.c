/* resid_load - see resid_load.h. */
#include "resid_load.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

#include "err.h"
#include "mem.h"

#define SLEEP_NS	100000000

struct fifo {
	struct resid_item *head, **tail;
};

struct resid_load {
	struct resid_source src;
	int threads, n_thread;	/* wanted, started */
	pthread_t *thread;
	void (*wake)(void *arg);
	void *wake_arg;
	atomic_bool stop;	/* set under mu, read without it too */
	atomic_uint n_done;	/* items in done, so that take needs no lock */
	atomic_ullong bytes;

	pthread_mutex_t mu;	/* below */
	pthread_cond_t more, some;	/* todo has grown; done has */
	struct fifo todo, done;
};

static void
fifo_init(struct fifo *f)
{
	f->head = NULL;
	f->tail = &f->head;
}

static void
fifo_put(struct fifo *f, struct resid_item *it)
{
	it->next = NULL;
	*f->tail = it;
	f->tail = &it->next;
}

static struct resid_item *
fifo_get(struct fifo *f)
{
	struct resid_item *it = f->head;

	if (it != NULL && (f->head = it->next) == NULL)
		f->tail = &f->head;
	return it;
}

struct resid_item *
resid_item_new(int layer, int room)
{
	struct resid_item *it;

	it = mem_zalloc(sizeof(*it) + (size_t)room * sizeof(it->expert[0]));
	it->layer = layer;
	return it;
}

int
resid_item_run(const struct resid_item *it, int i)
{
	int n = 1;

	while (i + n < it->n && it->expert[i + n] == it->expert[i] + n)
		n++;
	return n;
}

struct resid_load *
resid_load_open(const struct resid_source *src, int threads,
    void (*wake)(void *arg), void *wake_arg)
{
	struct resid_load *ld = mem_zalloc(sizeof(*ld));
	pthread_condattr_t ca;

	ld->src = *src;
	ld->threads = threads;
	ld->thread = mem_calloc((size_t)threads, sizeof(*ld->thread));
	ld->wake = wake;
	ld->wake_arg = wake_arg;
	fifo_init(&ld->todo);
	fifo_init(&ld->done);
	pthread_mutex_init(&ld->mu, NULL);
	pthread_cond_init(&ld->more, NULL);
	pthread_condattr_init(&ca);
	pthread_condattr_setclock(&ca, CLOCK_MONOTONIC);
	pthread_cond_init(&ld->some, &ca);
	pthread_condattr_destroy(&ca);
	return ld;
}

/* Give up the first n experts of an item. */
static void
unload(struct resid_load *ld, struct resid_item *it, int n)
{
	int i;

	for (i = 0; i < n; i++)
		ld->src.drop(ld->src.arg, &it->w[it->expert[i]]);
}

static int
load_run(struct resid_load *ld, struct resid_item *it, int i, int n)
{
	int first = it->expert[i];

	if (ld->src.load_run != NULL)
		return ld->src.load_run(ld->src.arg, it->layer, first, n,
		    &it->w[first], &it->err);
	return ld->src.load(ld->src.arg, it->layer, first, &it->w[first],
	    &it->err);
}

static void
load_item(struct resid_load *ld, struct resid_item *it)
{
	int i, n;

	for (i = 0; i < it->n; i += n) {
		n = ld->src.load_run != NULL ? resid_item_run(it, i) : 1;
		if (atomic_load(&ld->stop))
			err_set(&it->err, ERR_TEMP, "loading was stopped");
		else if (load_run(ld, it, i, n) == 0)
			atomic_fetch_add(&ld->bytes, (uint64_t)n *
			    ld->src.file_bytes(ld->src.arg, it->layer));
		if (it->err.code != 0) {
			unload(ld, it, i);
			return;
		}
	}
}

static void
drop_item(struct resid_load *ld, struct resid_item *it)
{
	if (ld->src.forget != NULL)
		ld->src.forget(ld->src.arg, it->layer, it->run_first,
		    it->run_n);
	ld->src.drop(ld->src.arg, &it->gone);
}

static void *
loader(void *arg)
{
	struct resid_load *ld = arg;
	struct resid_item *it;

	pthread_mutex_lock(&ld->mu);
	while (!atomic_load(&ld->stop)) {
		if ((it = fifo_get(&ld->todo)) == NULL) {
			pthread_cond_wait(&ld->more, &ld->mu);
			continue;
		}
		pthread_mutex_unlock(&ld->mu);
		if (it->drop)
			drop_item(ld, it);
		else
			load_item(ld, it);
		pthread_mutex_lock(&ld->mu);
		fifo_put(&ld->done, it);
		atomic_fetch_add(&ld->n_done, 1);
		pthread_cond_signal(&ld->some);
		if (ld->wake != NULL)
			ld->wake(ld->wake_arg);
	}
	pthread_mutex_unlock(&ld->mu);
	return NULL;
}

/* Signals are the program's main thread's business. */
static void
start_threads(struct resid_load *ld)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	while (ld->n_thread < ld->threads &&
	    pthread_create(&ld->thread[ld->n_thread], NULL, loader, ld) == 0)
		ld->n_thread++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (ld->n_thread == 0)
		BUG("the system gives no thread to load with");
}

void
resid_load_put(struct resid_load *ld, struct resid_item *it)
{
	if (ld->n_thread == 0 && !atomic_load(&ld->stop))
		start_threads(ld);
	pthread_mutex_lock(&ld->mu);
	fifo_put(&ld->todo, it);
	pthread_cond_signal(&ld->more);
	pthread_mutex_unlock(&ld->mu);
}

struct resid_item *
resid_load_take(struct resid_load *ld)
{
	struct resid_item *it;

	if (atomic_load(&ld->n_done) == 0)
		return NULL;
	pthread_mutex_lock(&ld->mu);
	it = ld->done.head;
	fifo_init(&ld->done);
	atomic_store(&ld->n_done, 0);
	pthread_mutex_unlock(&ld->mu);
	return it;
}

void
resid_load_sleep(struct resid_load *ld)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ts.tv_nsec += SLEEP_NS;
	if (ts.tv_nsec >= 1000000000) {
		ts.tv_nsec -= 1000000000;
		ts.tv_sec++;
	}
	pthread_mutex_lock(&ld->mu);
	if (ld->done.head == NULL)
		pthread_cond_timedwait(&ld->some, &ld->mu, &ts);
	pthread_mutex_unlock(&ld->mu);
}

uint64_t
resid_load_bytes(struct resid_load *ld)
{
	return atomic_load(&ld->bytes);
}

/* An item whose weights nobody will take over. */
static void
discard(struct resid_load *ld, struct resid_item *it, bool loaded)
{
	if (it->drop && !loaded)
		drop_item(ld, it);
	else if (!it->drop && loaded && it->err.code == 0)
		unload(ld, it, it->n);
	mem_free(it);
}

void
resid_load_stop(struct resid_load *ld)
{
	pthread_mutex_lock(&ld->mu);
	atomic_store(&ld->stop, true);
	pthread_cond_broadcast(&ld->more);
	pthread_mutex_unlock(&ld->mu);
	while (ld->n_thread > 0)
		pthread_join(ld->thread[--ld->n_thread], NULL);
}

void
resid_load_close(struct resid_load *ld)
{
	struct resid_item *it;

	resid_load_stop(ld);
	while ((it = fifo_get(&ld->todo)) != NULL)
		discard(ld, it, false);
	while ((it = fifo_get(&ld->done)) != NULL)
		discard(ld, it, true);
	pthread_cond_destroy(&ld->more);
	pthread_cond_destroy(&ld->some);
	pthread_mutex_destroy(&ld->mu);
	mem_free(ld->thread);
	mem_free(ld);
}
