/*
 * Unit test of bench_e2e_roof: bytes of a step of decoding, against figures
 * worked out by hand for the shape of OLMoE-1B-7B in bf16, and with q8 weights.
 */
#include <math.h>

#include "../../src/moe-bench/bench_e2e_roof.c"
#include "tap.h"

static struct model_layer layer[16];

static struct model_cfg
olmoe(void)
{
	int i;

	for (i = 0; i < 16; i++)
		layer[i] = (struct model_layer){ true, true, 0 };
	return (struct model_cfg){ .hidden = 2048, .n_layer = 16,
	    .vocab = 50304, .n_head = 16, .n_kv_head = 16, .dk = 128,
	    .dv = 128, .n_expert = 64, .top_k = 8, .inter = 1024,
	    .layer = layer };
}

int
main(void)
{
	static const struct {
		int streams;
		double gb;
	} want[] = { { 1, 2.36 }, { 4, 6.08 }, { 8, 9.21 }, { 16, 12.11 },
	    { 32, 13.46 } };
	const struct bench_e2e_roof bf16 = { 2, 2, 2 }, q8 = { 1.0625, 2, 2 };
	struct model_cfg c = olmoe();
	double a, b;
	size_t i;

	for (i = 0; i < sizeof(want) / sizeof(want[0]); i++) {
		a = bench_e2e_roof_bytes(&c, want[i].streams, 0, &bf16) * 1e-9;
		OK(fabs(a - want[i].gb) < 0.06, "%d streams: %.3f GB, about "
		    "%.2f", want[i].streams, a, want[i].gb);
	}
	a = bench_e2e_roof_bytes(&c, 3, 0, &bf16);
	b = bench_e2e_roof_bytes(&c, 3, 100, &bf16);
	OK(b - a == 3.0 * 100 * 16 * 16 * 256 * 2, "keys and values of 100 "
	    "tokens: %g", b - a);
	/* Gates (16 of 2048 x 64) stay bf16, and so does a tied head. */
	a = bench_e2e_roof_bytes(&c, 3, 0, &bf16);
	b = bench_e2e_roof_bytes(&c, 3, 0, &q8);
	OK(fabs(b - ((a - 16 * 2048 * 64 * 2.0) * 17 / 32 +
	    16 * 2048 * 64 * 2.0)) < 1, "q8: %g of %g", b, a);
	c.tied = true;
	OK(fabs(bench_e2e_roof_bytes(&c, 3, 0, &q8) - b -
	    2048 * 50304 * (2 - 1.0625)) < 1, "a tied head is not q8");
	c.tied = false;
	a = bench_e2e_roof_bytes(&c, 3, 0, &bf16);
	layer[0].window = 40;
	b = bench_e2e_roof_bytes(&c, 3, 100, &bf16);
	OK(b - a == 3.0 * (15 * 100 + 40) * 16 * 256 * 2, "no more than a "
	    "window: %g", b - a);
	c.shared = CONFIG_SHARED_GATED;
	c.inter_shared = 512;
	b = bench_e2e_roof_bytes(&c, 3, 0, &bf16);
	OK(b - a == 16 * (3.0 * 2048 * 512 + 2048) * 2, "a shared expert: %g",
	    b - a);
	layer[3].moe = false;
	c.shared = CONFIG_SHARED_NONE;
	c.inter_shared = 0;
	c.inter_dense = 4096;
	b = bench_e2e_roof_bytes(&c, 64000, 0, &bf16);
	a = 2.0 * (2048.0 * 50304 + 16 * 4.0 * 2048 * 2048 +
	    15 * (2048.0 * 64 + 64 * 3.0 * 2048 * 1024) +
	    3.0 * 2048 * 4096);
	OK(fabs(a - b) < 1, "a dense layer, all experts: %g", b);
	return tap_done();
}
