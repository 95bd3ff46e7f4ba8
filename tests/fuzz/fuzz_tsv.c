/* fuzz_tsv - a stream of records: read, written again, read to the same. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "rec.h"

int	LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { C_S, C_I, C_R, C_B };
static const struct rec_col col[] = {
	[C_S] = { "s", REC_STR, REC_OPTIONAL },
	[C_I] = { "i", REC_INT, REC_OPTIONAL },
	[C_R] = { "r", REC_REAL, REC_OPTIONAL },
	[C_B] = { "b", REC_BOOL, 0 },
	{ NULL, 0, 0 }
};

static void
put(struct rec_out *o, const struct rec_val *v)
{
	rec_put_str(o, v[C_S].s);
	if (v[C_I].have)
		rec_put_int(o, v[C_I].i);
	else
		rec_put_none(o);
	if (v[C_R].have)
		rec_put_real(o, v[C_R].r);
	else
		rec_put_none(o);
	if (v[C_B].have)
		rec_put_bool(o, v[C_B].i);
	else
		rec_put_none(o);
	if (rec_end(o, NULL) != 0)
		abort();
}

/* One record through the writer and the reader. */
static void
round_trip(const struct rec_val *v)
{
	char *text = NULL;
	size_t n;
	FILE *f = open_memstream(&text, &n);
	struct rec_out o;
	struct rec_in in;

	rec_out_open(&o, f, "t", 1, col, false);
	put(&o, v);
	rec_out_close(&o);
	fclose(f);
	f = fmemopen(text, n, "r");
	rec_in_open(&in, f, "again", "t", 1, col);
	if (rec_next(&in, NULL) != 1 || in.val[C_S].have != v[C_S].have ||
	    (v[C_S].have && strcmp(in.val[C_S].s, v[C_S].s) != 0) ||
	    in.val[C_I].i != v[C_I].i || in.val[C_B].i != v[C_B].i ||
	    rec_next(&in, NULL) != 0)
		abort();
	rec_in_close(&in);
	fclose(f);
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	char *copy = mem_dup(data, n), *text = NULL;
	FILE *f = fmemopen(copy, n, "r"), *sink;
	struct rec_in in;
	struct rec_out json;
	size_t size;

	if (f != NULL) {
		sink = open_memstream(&text, &size);
		rec_out_open(&json, sink, "t", 1, col, true);
		rec_in_open(&in, f, "fuzz", "t", 1, col);
		while (rec_next(&in, NULL) == 1) {
			put(&json, in.val);
			round_trip(in.val);
		}
		rec_in_close(&in);
		rec_out_close(&json);
		fclose(sink);
		free(text);
		fclose(f);
	}
	mem_free(copy);
	return 0;
}

#include "fuzz_main.h"
