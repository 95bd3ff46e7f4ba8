/*
 * store - see store.h.  Floor F4.
 *
 * Two ways to go through a weight.  A matrix is cut into pieces of about
 * PIECE_BYTES that begin at multiples of 16 packed rows (what kern_mat_pack
 * needs to run in parallel), and threads take pieces.  An expert is packed part
 * by part, and threads take experts.
 */
#include "store.h"

#include <pthread.h>
#include <string.h>

#include "mem.h"

#define PIECE_BYTES	((size_t)1 << 20)
#define CHECK_BYTES	((size_t)256 << 10)	/* read, then looked at */
#define PIECE_ROWS	16	/* kern_mat_pack's unit of parallelism */
#define THREADS		4
#define MAX_THREADS	64

/* ---- reading ----------------------------------------------------------- */

/* Are n values on end finite?  An exponent of all ones is a NaN or an infinity:
 * then adding its lowest bit carries into the sign's place, and into no other
 * value.  Eight bytes at a time, so that it costs less than reading them. */
static bool
all_finite(const void *p, size_t n, enum ckpt_dtype t)
{
	uint64_t exp = t == CKPT_F16 ? 0x7c007c007c007c00 : 0x7f807f807f807f80;
	uint64_t low = t == CKPT_F16 ? 0x0400040004000400 : 0x0080008000800080;
	uint64_t top = 0x8000800080008000, bad = 0, w;
	size_t bytes = 2 * n, i;
	const char *at = p;

	if (t == CKPT_F32) {
		exp = 0x7f8000007f800000;
		low = 0x0080000000800000;
		top = 0x8000000080000000;
		bytes = 4 * n;
	} else if (t != CKPT_F16 && t != CKPT_BF16) {
		return true;	/* narrower ones have no infinity to find */
	}
	for (i = 0; i + 8 <= bytes; i += 8) {
		memcpy(&w, at + i, 8);
		bad |= ((w & exp) + low) & top;
	}
	w = 0;
	memcpy(&w, at + i, bytes - i);
	return (bad | (((w & exp) + low) & top)) == 0;
}

/* Index of the first element of (i, j) = (0..rows, 0..cols) that is a NaN or
 * an infinity, or SIZE_MAX.  Elements in the gaps are others' (interleaved
 * parts): only a bad one that is ours counts. */
static size_t
find_not_finite(const void *buf, enum ckpt_dtype t, const struct model_ref *r)
{
	size_t eb = t == CKPT_F32 ? 4 : 2, i, j, at;
	const char *p = buf;

	for (i = 0; i < (size_t)r->rows; i++)
		for (j = 0; j < (size_t)r->cols; j++) {
			at = i * r->rs + j * r->cs;
			if (!all_finite(p + at * eb, 1, t))
				return at;
		}
	return SIZE_MAX;
}

static size_t
elem_bytes(const struct model_ref *r)
{
	return (size_t)ckpt_dtype_bits(r->t->dtype) / 8;
}

/* Elements from the first to the last of r, gaps included. */
static size_t
span(const struct model_ref *r)
{
	return (size_t)(r->rows - 1) * r->rs + (size_t)(r->cols - 1) * r->cs +
	    1;
}

/* Rows [row0, row0 + rows) of r. */
static struct model_ref
slice(const struct model_ref *r, int row0, int rows)
{
	struct model_ref s = *r;

	s.elem_off += (size_t)row0 * r->rs;
	s.rows = rows;
	return s;
}

/* Let the system begin to read r. */
static void
ahead(const struct model *m, const struct model_ref *r)
{
	size_t eb = elem_bytes(r);

	ckpt_read_ahead(model_ckpt(m), r->t, r->elem_off * eb, span(r) * eb);
}

/* Read span(r) elements into buf; strides stay as they are.  A weight that is
 * no number would make every answer NaN: ERR_DATA. */
static int
read_ref(const struct model *m, const struct model_ref *r, void *buf,
    struct err *err)
{
	size_t eb = elem_bytes(r), bytes = span(r) * eb, done, n, at = SIZE_MAX;
	bool finite = true;

	/* In steps, so that what is looked at is still in a cache. */
	for (done = 0; done < bytes; done += n) {
		n = bytes - done < CHECK_BYTES ? bytes - done : CHECK_BYTES;
		if (ckpt_read(model_ckpt(m), r->t, r->elem_off * eb + done, n,
		    (char *)buf + done, err) != 0)
			return -1;
		finite = finite && all_finite((const char *)buf + done, n / eb,
		    r->t->dtype);
	}
	if (!finite)
		at = find_not_finite(buf, r->t->dtype, r);
	if (at != SIZE_MAX)
		return err_set(err, ERR_DATA, "%s/%s: tensor %s: element %zu "
		    "is a NaN or an infinity", model_dir(m),
		    ckpt_file(model_ckpt(m), r->t), r->t->name,
		    r->elem_off + at);
	return 0;
}

float *
store_load_vec(const struct model *m, const struct model_ref *r,
    struct err *err)
{
	size_t n = (size_t)r->rows * (size_t)r->cols;
	void *raw;
	float *out;

	BUG_ON(span(r) != n);
	raw = mem_alloc(n * elem_bytes(r));
	if (read_ref(m, r, raw, err) != 0) {
		mem_free(raw);
		return NULL;
	}
	out = mem_alloc(n * sizeof(*out));
	kern_convert(out, KERN_F32, raw,
	    (enum kern_dtype)ckpt_dtype_kern(r->t->dtype), n);
	mem_free(raw);
	return out;
}

/* ---- a crew of threads over numbered jobs ------------------------------- */

/* A thread's own buffer, {0} at first: mapping one for each part would take as
 * long as reading into it. */
struct scratch {
	void *p;
	size_t bytes;
};

/* Room for so many bytes, in huge pages; what was in it is lost. */
static int
scratch_room(struct scratch *s, size_t bytes, struct err *err)
{
	if (bytes <= s->bytes)
		return 0;
	mem_unmap(s->p, s->bytes);
	s->bytes = 0;
	s->p = mem_map(bytes);
	if (s->p == NULL)
		return err_set(err, ERR_TEMP, "no memory for %zu bytes to "
		    "read weights into", bytes);
	s->bytes = bytes;
	return 0;
}

static void
scratch_free(struct scratch *s)
{
	mem_unmap(s->p, s->bytes);
}

struct crew;
/* Do job i; s is the thread's own. */
typedef int (job_fn)(struct crew *c, size_t i, struct scratch *s,
	    struct err *err);

struct crew {
	job_fn *job;
	const void *arg;
	size_t n;		/* jobs */
	const atomic_bool *stop;	/* or NULL */
	atomic_size_t next;
	atomic_bool failed;
	pthread_mutex_t mu;	/* err, and the progress of store_load_many */
	struct err *err;
	uint64_t done_bytes;
};

static void *
crew_run(void *arg)
{
	struct crew *c = arg;
	struct scratch s = { 0 };
	struct err e = ERR_INIT;
	size_t i;

	while (!atomic_load(&c->failed) &&
	    (i = atomic_fetch_add(&c->next, 1)) < c->n) {
		if (c->stop != NULL && atomic_load(c->stop))
			err_set(&e, ERR_TEMP, "loading was stopped");
		else if (c->job(c, i, &s, &e) == 0)
			continue;
		pthread_mutex_lock(&c->mu);
		if (!atomic_exchange(&c->failed, true) && c->err != NULL)
			*c->err = e;
		pthread_mutex_unlock(&c->mu);
	}
	scratch_free(&s);
	return NULL;
}

/* Run all jobs with at most threads threads, the caller's included.  A thread
 * that cannot be had is done without. */
static int
crew_all(struct crew *c, int threads)
{
	pthread_t t[MAX_THREADS];
	int n = 0, i;

	if (threads > MAX_THREADS)
		threads = MAX_THREADS;
	pthread_mutex_init(&c->mu, NULL);
	for (i = 1; i < threads && (size_t)i < c->n; i++)
		if (pthread_create(&t[n], NULL, crew_run, c) == 0)
			n++;
	crew_run(c);
	for (i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	pthread_mutex_destroy(&c->mu);
	return atomic_load(&c->failed) ? -1 : 0;
}

/* ---- matrices ---------------------------------------------------------- */

struct mat_job {
	const struct store_mat *a;
	struct kern_mat *out;
	int piece_rows;
};

/* Rows of a piece: about PIECE_BYTES of the widest ref.  A transposed ref is
 * read in one go: any of its rows spans nearly all of it. */
static int
piece_rows(const struct store_mat *a)
{
	size_t rows = (size_t)1 << 30, n;
	int i;

	for (i = 0; i < a->n_ref; i++) {
		const struct model_ref *r = &a->ref[i];

		if (r->cs != 1)
			return 1 << 30;
		n = PIECE_BYTES / (r->rs * elem_bytes(r));
		rows = n < rows ? n : rows;
	}
	return rows < PIECE_ROWS ? PIECE_ROWS :
	    (int)(rows - rows % PIECE_ROWS);
}

/* Read part r and pack it as the rows from row0 on. */
static int
mat_part(const struct mat_job *j, struct scratch *s, const struct model_ref *r,
    int row0, struct err *err)
{
	struct kern_pack p = { .dst = j->out, .row0 = row0, .rows = r->rows,
	    .rs = r->rs, .cs = r->cs,
	    .src_dtype = (enum kern_dtype)ckpt_dtype_kern(r->t->dtype) };

	if (scratch_room(s, span(r) * elem_bytes(r), err) != 0)
		return -1;
	ahead(j->a->m, r);
	if (read_ref(j->a->m, r, s->p, err) != 0)
		return -1;
	p.src = s->p;
	kern_mat_pack(j->a->kn, &p);
	return 0;
}

/* Piece i of the packed rows: the parts of all refs that fall into it. */
static int
mat_job(struct crew *c, size_t i, struct scratch *s, struct err *err)
{
	const struct mat_job *j = c->arg;
	int first = (int)i * j->piece_rows, base = 0, r, lo, hi;
	int last = j->out->n - first < j->piece_rows ? j->out->n :
	    first + j->piece_rows;
	struct model_ref part;

	for (r = 0; r < j->a->n_ref; r++) {
		const struct model_ref *ref = &j->a->ref[r];

		lo = first > base ? first - base : 0;
		hi = last - base < ref->rows ? last - base : ref->rows;
		if (lo < hi) {
			part = slice(ref, lo, hi - lo);
			if (mat_part(j, s, &part, base + lo, err) != 0)
				return -1;
		}
		base += ref->rows;
	}
	return 0;
}

static int
mat_alloc(const struct kern *kn, int n, int k, enum kern_dtype t,
    struct kern_mat *out, struct err *err)
{
	*out = (struct kern_mat){ .n = n, .k = k, .dtype = t,
	    .bytes = kern_mat_bytes(kn, n, k, t) };
	out->data = kern_mem_alloc(kn, out->bytes);
	if (out->data == NULL)
		return err_set(err, ERR_TEMP, "no memory for %zu bytes of "
		    "weights", out->bytes);
	return 0;
}

int
store_load_mat(const struct store_mat *a, struct kern_mat *out,
    struct err *err)
{
	struct kern_mat mat;
	struct mat_job j = { a, &mat, piece_rows(a) };
	struct crew c = { .job = mat_job, .arg = &j, .err = err };
	int i, rows = 0;

	for (i = 0; i < a->n_ref; i++) {
		BUG_ON(a->ref[i].cols != a->ref[0].cols);
		rows += a->ref[i].rows;
	}
	if (mat_alloc(a->kn, rows, a->ref[0].cols, a->dtype, &mat, err) != 0)
		return -1;
	if (j.piece_rows > rows)
		j.piece_rows = rows;
	c.n = ((size_t)rows + (size_t)j.piece_rows - 1) / (size_t)j.piece_rows;
	if (crew_all(&c, a->threads) != 0) {
		store_free_mat(a->kn, &mat);
		return -1;
	}
	*out = mat;
	return 0;
}

void
store_free_mat(const struct kern *kn, struct kern_mat *mat)
{
	if (mat->data != NULL)
		kern_mem_free(kn, mat->data, mat->bytes);
	mat->data = NULL;
}

/* ---- experts ----------------------------------------------------------- */

static const enum model_role ffn_role[][3] = {
	[STORE_EXPERT] = { MODEL_EXPERT_GATE, MODEL_EXPERT_UP,
	    MODEL_EXPERT_DOWN },
	[STORE_SHARED] = { MODEL_SHARED_GATE, MODEL_SHARED_UP,
	    MODEL_SHARED_DOWN },
	[STORE_DENSE] = { MODEL_DENSE_GATE, MODEL_DENSE_UP,
	    MODEL_DENSE_DOWN },
};

struct packing {
	const struct kern *kn;
	const struct model *m;
	struct kern_expert *x;
	struct scratch *buf;
};

static int
pack_part(const struct packing *a, const struct model_ref *r,
    enum kern_part part, struct err *err)
{
	struct kern_pack p = { .rows = r->rows, .src = a->buf->p,
	    .rs = r->rs, .cs = r->cs,
	    .src_dtype = (enum kern_dtype)ckpt_dtype_kern(r->t->dtype) };

	if (read_ref(a->m, r, a->buf->p, err) != 0)
		return -1;
	kern_expert_pack(a->kn, a->x, part, &p);
	return 0;
}

static void
ffn_refs(const struct model *m, enum store_ffn which, int layer, int expert,
    struct model_ref r[3])
{
	int part;

	for (part = KERN_GATE; part <= KERN_DOWN; part++)
		if (!model_ref(m, ffn_role[which][part], layer, expert,
		    &r[part]))
			BUG("layer %d has no %s", layer,
			    model_role_name(ffn_role[which][part]));
}

/* One buffer serves the three parts, and the thread's next expert. */
static int
pack_parts(const struct packing *a, const struct model_ref r[3],
    struct err *err)
{
	size_t bytes = 0, n;
	int part;

	for (part = KERN_GATE; part <= KERN_DOWN; part++) {
		ahead(a->m, &r[part]);
		n = span(&r[part]) * elem_bytes(&r[part]);
		bytes = n > bytes ? n : bytes;
	}
	if (scratch_room(a->buf, bytes, err) != 0)
		return -1;
	for (part = KERN_GATE; part <= KERN_DOWN; part++)
		if (pack_part(a, &r[part], (enum kern_part)part, err) != 0)
			return -1;
	return 0;
}

/* The parts r of one, through a buffer; into memory that this makes. */
static int
load_parts(const struct kern *kn, const struct model *m,
    const struct model_ref r[3], struct scratch *s, struct kern_expert *out,
    struct err *err)
{
	struct kern_expert x = { 0 };
	const struct packing a = { kn, m, &x, s };
	int rc;

	rc = mat_alloc(kn, 2 * r[KERN_GATE].rows, r[KERN_GATE].cols,
	    kern_weights(kn), &x.gate_up, err);
	if (rc == 0)
		rc = mat_alloc(kn, r[KERN_DOWN].rows, r[KERN_DOWN].cols,
		    kern_weights(kn), &x.down, err);
	if (rc == 0)
		rc = pack_parts(&a, r, err);
	if (rc != 0)
		store_free_expert(kn, &x);
	else
		*out = x;
	return rc;
}

int
store_load_ffn(const struct kern *kn, const struct model *m,
    enum store_ffn which, int layer, int expert, struct kern_expert *out,
    struct err *err)
{
	struct scratch s = { 0 };
	struct model_ref r[3];
	int rc;

	ffn_refs(m, which, layer, expert, r);
	rc = load_parts(kn, m, r, &s, out, err);
	scratch_free(&s);
	return rc;
}

void
store_expert_shape(const struct kern *kn, const struct model *m,
    struct kern_expert *out)
{
	const struct model_cfg *c = model_cfg(m);

	*out = (struct kern_expert){
	    .gate_up = { .n = 2 * c->inter, .k = c->hidden },
	    .down = { .n = c->hidden, .k = c->inter } };
	out->gate_up.dtype = out->down.dtype = kern_weights(kn);
	out->gate_up.bytes = kern_mat_bytes(kn, 2 * c->inter, c->hidden,
	    kern_weights(kn));
	out->down.bytes = kern_mat_bytes(kn, c->hidden, c->inter,
	    kern_weights(kn));
}

int
store_pack_expert(const struct kern *kn, const struct model *m, int layer,
    int expert, struct kern_expert *x, struct err *err)
{
	struct scratch s = { 0 };
	const struct packing a = { kn, m, x, &s };
	struct model_ref r[3];
	int rc;

	ffn_refs(m, STORE_EXPERT, layer, expert, r);
	rc = pack_parts(&a, r, err);
	scratch_free(&s);
	return rc;
}

int
store_load_expert(const struct kern *kn, const struct model *m, int layer,
    int expert, struct kern_expert *out, struct err *err)
{
	return store_load_ffn(kn, m, STORE_EXPERT, layer, expert, out, err);
}

void
store_free_expert(const struct kern *kn, struct kern_expert *x)
{
	store_free_mat(kn, &x->gate_up);
	store_free_mat(kn, &x->down);
}

size_t
store_expert_bytes(const struct kern *kn, const struct model *m)
{
	struct kern_expert x;

	store_expert_shape(kn, m, &x);
	return x.gate_up.bytes + x.down.bytes;
}

struct many_job {
	const struct store_many *a;
	struct kern_expert *out;
	uint64_t total_bytes;
};

static int
many_job(struct crew *c, size_t i, struct scratch *s, struct err *err)
{
	const struct many_job *j = c->arg;
	const struct store_many *a = j->a;
	const struct store_pick *p = &a->pick[i];
	struct model_ref r[3];

	ffn_refs(a->m, STORE_EXPERT, p->layer, p->expert, r);
	if (load_parts(a->kn, a->m, r, s, &j->out[i], err) != 0)
		return -1;
	pthread_mutex_lock(&c->mu);
	c->done_bytes += model_expert_file_bytes(a->m, p->layer);
	if (a->progress != NULL)
		a->progress(c->done_bytes, j->total_bytes, a->arg);
	pthread_mutex_unlock(&c->mu);
	return 0;
}

int
store_load_many(const struct store_many *a, struct kern_expert *out,
    struct err *err)
{
	struct many_job j = { a, out, 0 };
	struct crew c = { .job = many_job, .arg = &j, .n = a->n,
	    .stop = a->stop, .err = err };
	size_t i;

	memset(out, 0, a->n * sizeof(*out));
	for (i = 0; i < a->n; i++)
		j.total_bytes += model_expert_file_bytes(a->m,
		    a->pick[i].layer);
	if (crew_all(&c, a->threads > 0 ? a->threads : THREADS) == 0)
		return 0;
	for (i = 0; i < a->n; i++)
		store_free_expert(a->kn, &out[i]);
	return -1;
}
