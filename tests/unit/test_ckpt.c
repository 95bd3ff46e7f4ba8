/* Unit tests of common/model/ckpt: what is read, and every way to be wrong. */
#include "ckpt.h"

#include "err.h"
#include "scratch.h"
#include "tap.h"

#define SINGLE	"model.safetensors"
#define INDEX	"model.safetensors.index.json"

/* A safetensors file: length word, header, n data bytes counting up. */
static void
write_st(const char *name, const char *header, size_t n_data)
{
	struct str s = STR_INIT;
	uint64_t n = strlen(header);
	size_t i;

	for (i = 0; i < 8; i++)
		str_addc(&s, (char)(n >> 8 * i & 0xff));
	str_adds(&s, header);
	for (i = 0; i < n_data; i++)
		str_addc(&s, (char)i);
	scratch_write(name, s.p, s.n);
	str_free(&s);
}

/* Open the scratch directory; it must fail with 65 and a text holding a and b
 * (b may be NULL). */
static void
refused(const char *what, const char *a, const char *b)
{
	struct err e = ERR_INIT;
	struct ckpt *c = NULL;
	int rc = ckpt_open(&c, scratch_dir, &e);

	OK(rc == -1 && e.code == ERR_DATA, "%s: refused with 65", what);
	if (!OK(strstr(e.text, a) != NULL &&
	    (b == NULL || strstr(e.text, b) != NULL),
	    "%s: the text names what and where", what))
		printf("# %s\n", e.text);
	ckpt_close(rc == 0 ? c : NULL);
	scratch_clear();
}

static void
refused_header(const char *what, const char *header, size_t n, const char *a)
{
	write_st(SINGLE, header, n);
	refused(what, a, SINGLE);
}

#define T(name, dtype, shape, b, e)					\
	"\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape	\
	",\"data_offsets\":[" #b "," #e "]}"

static void
test_good(void)
{
	struct err e = ERR_INIT;
	const struct ckpt_tensor *t;
	unsigned char buf[8];
	struct ckpt *c;

	write_st(SINGLE, "{\"__metadata__\":{\"format\":\"pt\"},"
	    T("b", "F32", "[2,1]", 4, 12) "," T("a", "BF16", "[2]", 0, 4) ","
	    T("none", "F32", "[0,7]", 12, 12) "," T("one", "U8", "[]", 12, 13)
	    "}   ", 13);
	if (!OK(ckpt_open(&c, scratch_dir, &e) == 0, "a good file opens")) {
		printf("# %s\n", e.text);
		return;
	}
	EQ_INT(ckpt_count(c), 4, "four tensors");
	EQ_INT(ckpt_bytes(c), 13, "bytes of all");
	EQ_STR(ckpt_at(c, 0)->name, "a", "in order of offset");
	t = ckpt_find(c, "b");
	OK(t != NULL && t->dtype == CKPT_F32 && t->rank == 2 &&
	    t->shape[0] == 2 && t->shape[1] == 1 && t->elems == 2 &&
	    t->bytes == 8, "dtype and shape");
	OK(ckpt_read(c, t, 2, 6, buf, &e) == 0 && buf[0] == 6 && buf[5] == 11,
	    "bytes 2 to 7 of b are bytes 6 to 11 of the data");
	t = ckpt_find(c, "one");
	OK(t != NULL && t->rank == 0 && t->elems == 1, "a scalar");
	OK(ckpt_find(c, "none")->elems == 0, "an empty tensor");
	OK(ckpt_find(c, "c") == NULL, "no such tensor");
	EQ_STR(ckpt_file(c, t), SINGLE, "its file");
	ckpt_close(c);
	scratch_clear();
}

/* A file that shrinks after it was opened. */
static void
test_shrunk(void)
{
	struct err e = ERR_INIT;
	char *path = mem_printf("%s/%s", scratch_dir, SINGLE);
	unsigned char buf[8];
	struct ckpt *c;

	write_st(SINGLE, "{" T("w", "F32", "[2]", 0, 8) "}", 8);
	OK(ckpt_open(&c, scratch_dir, &e) == 0, "opens");
	OK(truncate(path, 60) == 0, "the file is cut");
	OK(ckpt_read(c, ckpt_find(c, "w"), 0, 8, buf, &e) == -1 &&
	    e.code == ERR_DATA && strstr(e.text, "tensor w") != NULL &&
	    strstr(e.text, SINGLE) != NULL, "reading it says so");
	ckpt_close(c);
	mem_free(path);
	scratch_clear();
}

static void
test_bad_files(void)
{
	static const char past[10] = "\310\0\0\0\0\0\0\0{}";
	static const char huge[10] = "\0\0\0\0\0\0\0\377{}";
	static const char list[10] = "\2\0\0\0\0\0\0\0[]";

	refused("no file", SINGLE, scratch_dir);
	scratch_write(SINGLE, "1234", 4);
	refused("four bytes", "too few", SINGLE);
	scratch_write(SINGLE, past, sizeof(past));
	refused("a header past the end", "past the end of the file", SINGLE);
	scratch_write(SINGLE, huge, sizeof(huge));
	refused("a huge header", "more than 100000000", SINGLE);
	scratch_write(SINGLE, list, sizeof(list));
	refused("a list", "not JSON", SINGLE);
	refused_header("broken JSON", "{\"a\":", 0, "not valid JSON");
	refused_header("JSON and more", "{} x", 0, "not valid JSON");
	refused_header("metadata of numbers", "{\"__metadata__\":{\"n\":1}}", 0,
	    "__metadata__");
	refused_header("data, but no tensors", "{}", 4, "4 bytes of data");
}

static void
test_bad_tensors(void)
{
	refused_header("a tensor that is a number", "{\"w\":1}", 0, "w");
	refused_header("the same name twice", "{" T("w", "U8", "[1]", 0, 1) ","
	    T("w", "U8", "[1]", 1, 2) "}", 2, "w");
	refused_header("an unknown dtype", "{" T("w", "Q9", "[1]", 0, 1) "}", 1,
	    "tensor w: dtype: \"Q9\"");
	refused_header("no dtype", "{\"w\":{\"shape\":[1]}}", 1, "dtype");
	refused_header("a negative dimension", "{" T("w", "U8", "[-1]", 0, 1)
	    "}", 1, "tensor w: shape");
	refused_header("a fractional dimension", "{" T("w", "U8", "[1.5]", 0, 1)
	    "}", 1, "tensor w: shape");
	refused_header("a product that overflows", "{" T("w", "U8",
	    "[4294967296,4294967296,16]", 0, 1) "}", 1, "overflows");
	refused_header("bits that overflow", "{" T("w", "F64",
	    "[4611686018427387904]", 0, 0) "}", 0, "do not hold");
	refused_header("nine dimensions", "{" T("w", "U8",
	    "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, "9 dimensions");
	refused_header("too few bytes", "{" T("w", "F32", "[2]", 0, 4) "}", 4,
	    "tensor w: data_offsets: 4 bytes do not hold 2 values of F32");
	refused_header("half a byte", "{" T("w", "F4", "[3]", 0, 2) "}", 2,
	    "do not hold");
	refused_header("offsets backwards", "{" T("w", "U8", "[1]", 1, 0) "}",
	    1, "not a range");
	refused_header("one offset", "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],"
	    "\"data_offsets\":[0]}}", 1, "two integers");
	refused_header("an offset beyond 64 bits", "{" T("w", "U8", "[1]",
	    0, 99999999999999999999) "}", 1, "tensor w");
	refused_header("a truncated file", "{" T("a", "U8", "[4]", 0, 4) ","
	    T("w", "F32", "[9]", 4, 40) "}", 20, "tensor w");
	refused_header("an overlap", "{" T("a", "U8", "[4]", 0, 4) ","
	    T("w", "U8", "[4]", 2, 6) "}", 6, "overlap");
	refused_header("a hole", "{" T("a", "U8", "[4]", 0, 4) ","
	    T("w", "U8", "[4]", 6, 10) "}", 10, "a hole");
	refused_header("a hole in front", "{" T("w", "U8", "[4]", 2, 6) "}", 6,
	    "tensor w");
	refused_header("bytes left over", "{" T("w", "U8", "[4]", 0, 4) "}", 6,
	    "w");
}

static void
refused_index(const char *what, const char *index, const char *a,
    const char *b)
{
	write_st("one.safetensors", "{" T("a", "U8", "[4]", 0, 4) "}", 4);
	write_st("two.safetensors", "{" T("b", "U8", "[4]", 0, 4) "}", 4);
	write_st("three.safetensors", "{" T("a", "U8", "[4]", 0, 4) "}", 4);
	scratch_write(INDEX, index, strlen(index));
	refused(what, a, b);
}

static void
test_index(void)
{
	const char *good = "{\"metadata\":{\"total_size\":8},\"weight_map\":{"
	    "\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}";
	struct err e = ERR_INIT;
	struct ckpt *c;

	write_st("one.safetensors", "{" T("a", "U8", "[4]", 0, 4) "}", 4);
	write_st("two.safetensors", "{" T("b", "U8", "[4]", 0, 4) "}", 4);
	scratch_write(INDEX, good, strlen(good));
	OK(ckpt_open(&c, scratch_dir, &e) == 0 && ckpt_count(c) == 2,
	    "two shards open");
	EQ_STR(ckpt_file(c, ckpt_find(c, "a")), "one.safetensors", "a's file");
	ckpt_close(c);
	scratch_clear();

	refused_index("../x", "{\"weight_map\":{\"a\":\"../x\"}}", "../x",
	    INDEX);
	refused_index("/etc/passwd", "{\"weight_map\":{\"a\":\"/etc/passwd\"}}",
	    "/etc/passwd", INDEX);
	refused_index("..", "{\"weight_map\":{\"a\":\"..\"}}", "is refused",
	    INDEX);
	refused_index("an empty name", "{\"weight_map\":{\"a\":\"\"}}", "a",
	    INDEX);
	refused_index("a number", "{\"weight_map\":{\"a\":3}}", "a", INDEX);
	refused_index("a directory", "{\"weight_map\":{\"a\":\".\"}}",
	    "not a regular file", NULL);
	refused_index("no map", "{}", "weight_map", INDEX);
	refused_index("an empty map", "{\"weight_map\":{}}", "no tensor",
	    INDEX);
	refused_index("broken", "{\"weight_map\"", "not valid JSON", INDEX);
	refused_index("a shard that is not there",
	    "{\"weight_map\":{\"a\":\"four.safetensors\"}}",
	    "four.safetensors", "No such file");
	refused_index("a tensor in another file", "{\"weight_map\":"
	    "{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}", "a",
	    "not in two.safetensors");
	refused_index("a tensor nowhere", "{\"weight_map\":"
	    "{\"a\":\"one.safetensors\",\"c\":\"one.safetensors\"}}", "c",
	    INDEX);
	refused_index("a tensor in two files", "{\"weight_map\":"
	    "{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\","
	    "\"d\":\"three.safetensors\"}}", "tensor a", "as well");
	refused_index("one map key twice", "{\"weight_map\":"
	    "{\"a\":\"one.safetensors\",\"a\":\"three.safetensors\"}}",
	    "duplicate", INDEX);
}

static uint64_t
fingerprint(void)
{
	struct err e = ERR_INIT;
	struct ckpt *c;
	uint64_t h = 0;

	if (!OK(ckpt_open(&c, scratch_dir, &e) == 0 &&
	    ckpt_fingerprint(c, &h, &e) == 0, "fingerprint"))
		printf("# %s\n", e.text);
	ckpt_close(c);
	scratch_clear();
	return h;
}

static void
test_fingerprint(void)
{
	const char *index = "{\"weight_map\":{\"a\":\"one.safetensors\","
	    "\"b\":\"two.safetensors\"}}";
	uint64_t h;

	write_st(SINGLE, "{" T("a", "U8", "[4]", 0, 4) ","
	    T("b", "U8", "[4]", 4, 8) "}", 8);
	h = fingerprint();
	write_st(SINGLE, "{" T("b", "U8", "[4]", 0, 4) ","
	    T("a", "U8", "[4]", 4, 8) "}", 8);
	OK(fingerprint() != h, "contents count");
	write_st(SINGLE, "{" T("a", "U8", "[2,2]", 0, 4) ","
	    T("b", "U8", "[4]", 4, 8) "}", 8);
	OK(fingerprint() != h, "shapes count");
	write_st(SINGLE, "{" T("a", "I8", "[4]", 0, 4) ","
	    T("b", "U8", "[4]", 4, 8) "}", 8);
	OK(fingerprint() != h, "dtypes count");
	write_st("one.safetensors", "{" T("a", "U8", "[4]", 0, 4) "}", 4);
	write_st("two.safetensors", "{" T("z", "U8", "[4]", 0, 4) ","
	    T("b", "U8", "[4]", 4, 8) "}", 8);
	scratch_write(INDEX, index, strlen(index));
	OK(fingerprint() != h, "another tensor counts");
	write_st("one.safetensors", "{" T("a", "U8", "[4]", 0, 4) "}", 4);
	write_st("two.safetensors", "{" T("z", "U8", "[0]", 0, 0) ","
	    T("b", "U8", "[4]", 0, 4) "}", 4);
	scratch_write(INDEX, index, strlen(index));
	OK(fingerprint() != h, "so does an empty one");
}

int
main(void)
{
	scratch_begin();
	test_good();
	test_shrunk();
	test_bad_files();
	test_bad_tensors();
	test_index();
	test_fingerprint();
	return tap_done();
}
