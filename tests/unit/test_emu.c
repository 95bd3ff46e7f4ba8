/* Unit tests of the emu backend: costs, the time that operations take, bits;
 * of device files; and of the dilated clock. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "device.h"
#include "emu/emu.h"
#include "mem.h"
#include "tap.h"

static bool
near(double a, double b)
{
	return fabs(a - b) <= 1e-6 * fabs(b);
}

static void
test_cost(void)
{
	/* 100 Tflop/s, 1 TB/s, both reached. */
	const struct emu_device d = { .flop_s = 1e14, .byte_s = 1e12,
	    .flop_share = 1, .byte_share = 1, .launch_us = 5,
	    .expert_us = 7, .link_us = 2, .link_byte_s = 1e11 };
	const struct emu_shape s = { .hidden = 1000, .n_head = 8,
	    .n_kv_head = 2, .d_head = 100, .n_expert = 10 };
	int rows[] = { 1, 0, 1000 };

	/* 1000 x 1000 bf16: 2 MB, and 4 kB of rows. */
	OK(near(emu_linear_us(&d, 1, 1000, 1000), 5 + 2.004), "bytes bind");
	OK(near(emu_linear_us(&d, 10000, 1000, 1000), 5 + 200), "work binds");
	OK(near(emu_linear_us(&d, 0, 10, 10), 0), "nothing is free");
	OK(near(emu_ffn_us(&d, 1000, 1000, rows, 1), 17 + 4.006 + 2.004),
	    "a pass: two products, two launches, its fixed part");
	OK(near(emu_ffn_us(&d, 1000, 1000, rows, 3) -
	    emu_ffn_us(&d, 1000, 1000, rows, 1), 60.0),
	    "experts add up, inactive ones are free");
	OK(near(emu_attn_us(&d, &s, 4, 10000, 10000), 5 + 8.0),
	    "K and V, once");
	OK(near(emu_attn_us(&d, &s, 4, 10000, 2500), 5 + 2.0),
	    "rows of a prompt share them");
	OK(emu_step_us(&d, &s, 4, 10000, 10000) >
	    emu_attn_us(&d, &s, 4, 10000, 10000),
	    "a step is more");
	OK(near(emu_link_us(&d, 1e5), 3), "a link");
}

static void
test_device(void)
{
	static const char *const name[] = { "a100-40", "a100-80",
	    "a100-80-amoe", "h100", "h200" };
	char path[] = "/tmp/moe-dev.XXXXXX";
	struct emu_device d, back;
	struct emu_opt o;
	struct err e = ERR_INIT;
	FILE *fp;
	size_t i;
	int fd;

	setenv("MOE_DEVICES", "kernels/emu/devices", 1);
	for (i = 0; i < 4; i++)
		OK(device_find(name[i], &d, &e) == 0 && d.flop_s > 1e14 &&
		    strcmp(d.name, name[i]) == 0, "%s %s", name[i], e.text);
	OK(device_find("z9", &d, &e) != 0 && e.code == ERR_USAGE, "no z9");
	OK(device_parse("emu:h100,skip,as=mixtral", &o, &e) == 0 && o.skip &&
	    o.as.hidden == 4096 && strcmp(o.device.name, "h100") == 0,
	    "parsed");
	OK(device_parse("emu:h100", &o, &e) == 0 && !o.skip &&
	    o.as.hidden == 0, "nothing is left of before");
	OK(device_parse("emu:h100,fast", &o, &e) != 0 &&
	    device_parse("emu:h100,as=x", &o, &e) != 0 &&
	    device_parse("gpu", &o, &e) != 0, "others are refused");
	if (!OK(device_find("h100", &d, &e) == 0, "h100") ||
	    !OK((fd = mkstemp(path)) >= 0, "a file"))
		return;
	fp = fdopen(fd, "w");
	OK(device_write(&d, "test", fp, &e) == 0, "written");
	fclose(fp);
	OK(device_find(path, &back, &e) == 0 && near(back.byte_s, d.byte_s) &&
	    near(back.collective_us, d.collective_us), "and read");
	fp = fopen(path, "w");
	fputs("#moe:device/1\tkey\tvalue\tsource\nflop_s\t1\tx\n", fp);
	fclose(fp);
	OK(device_find(path, &back, &e) != 0 && e.code == ERR_DATA,
	    "a key is missing");
	fp = fopen(path, "w");
	fputs("#moe:device/1\tkey\tvalue\tsource\nflop_share\t2\tx\n", fp);
	fclose(fp);
	OK(device_find(path, &back, &e) != 0 && e.code == ERR_DATA,
	    "more than all");
	unlink(path);
}

/* y of one product under a kern of either kind; how long n of them took. */
static uint64_t
products(struct kern *k, int n, float *y)
{
	struct kern_mat m = { .n = 32, .k = 16, .dtype = KERN_F32 };
	float src[32 * 16], x[16];
	struct kern_pack p = { &m, 0, 32, src, KERN_F32, 16, 1 };
	struct kern_linear a = { &m, NULL, x, 16, y, 32, KERN_F32, 1 };
	uint64_t t;
	int i;

	for (i = 0; i < 32 * 16; i++)
		src[i] = (float)(i % 7) - 3;
	for (i = 0; i < 16; i++)
		x[i] = (float)i;
	m.bytes = kern_mat_bytes(k, 32, 16, KERN_F32);
	m.data = kern_mem_alloc(k, m.bytes);
	kern_mat_pack(k, &p);
	t = clock_ns();
	for (i = 0; i < n; i++)
		kern_linear(k, &a);
	t = clock_ns() - t;
	kern_mem_free(k, m.data, m.bytes);
	return t;
}

static void
test_backend(void)
{
	struct emu_opt o = { .device = { .flop_s = 1e14, .byte_s = 1e12,
	    .flop_share = 1, .byte_share = 1, .launch_us = 100 }, .scale = 3 };
	const struct kern_opt ko = { .isa = "ref", .act = KERN_F32,
	    .threads = 1 };
	float want[32], got[32], zero[32] = { 0 };
	char why[KERN_WHY];
	struct emu_stats s;
	struct kern *k;
	uint64_t t;

	OK(kern_open(&k, &ko, why) == 0, "cpu");
	products(k, 1, want);
	emu_stats(k, &s);
	OK(s.ops == 0 && s.real_ns == 0, "no statistics of a cpu");
	kern_close(k);

	OK(emu_open(&k, &o, &ko, why) == 0, "emu");
	EQ_STR(kern_variant(k), "emu3-cpu-ref-f32", "its variant");
	t = products(k, 200, got);
	OK(memcmp(got, want, sizeof(got)) == 0, "the same bits");
	/* 200 of 100 us, 3 times slower; what is late is made up for, but for
	 * the last. */
	OK(t >= 59000000u, "took %g ms, at least 59", (double)t / 1e6);
	emu_stats(k, &s);
	EQ_INT(s.ops, 200, "operations");
	OK(s.busy_ns / 1000000 == 20, "busy for 20 ms of its own time");
	OK(s.real_ns >= t && s.compute_ns <= s.real_ns && s.cpu_ns > 0,
	    "real times");
	kern_close(k);

	o.skip = true;
	o.as = (struct emu_shape){ .hidden = 4096, .vocab = 32000 };
	OK(emu_open(&k, &o, &ko, why) == 0, "skip");
	EQ_STR(kern_variant(k), "skip3-cpu-ref-f32", "another variant");
	products(k, 1, got);
	OK(memcmp(got, zero, sizeof(got)) == 0, "zeros");
	emu_stats(k, &s);
	EQ_INT(s.ops, 0, "as=: a product that is not the head is charged "
	    "with its layer");
	kern_close(k);
}

static void
test_clock(void)
{
	uint64_t a = clock_ns(), b;

	clock_dilate(10);
	b = clock_ns();
	OK(b >= a / 10 && b < a / 10 + 100000000u, "ten times slower");
	OK(clock_left(b + 1000000000u) > 5000000000u &&
	    clock_left(b + 1000000000u) <= 10000000000u, "left: real time");
	OK(clock_left(b) == 0, "over");
	OK(clock_real(7) == 70 && clock_real(UINT64_MAX / 2) == UINT64_MAX,
	    "durations");
	clock_dilate(1);
	EQ_INT(clock_dilation(), 1, "back");
}

int
main(void)
{
	test_cost();
	test_device();
	test_backend();
	test_clock();
	return tap_done();
}
