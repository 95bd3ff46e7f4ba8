/*
 * bench_device - see bench_device.h.
 *
 * Of #moe:kern/1: the best gb_s and gflop_s of any record are what the machine
 * reaches (their shares of the peak are then 1), and the shortest time of any
 * call is that of a launch.  What kern cannot tell (links, fixed parts) is that
 * of a known device.
 */
#include "bench_device.h"

#include <stdio.h>

#include "cli.h"
#include "device.h"
#include "rec.h"

#define PROG	"moe-bench device"

enum { C_US, C_GB_S, C_GFLOP_S, C_N };
static const struct rec_col col[] = {
	[C_US] = { "us", REC_REAL, 0 },
	[C_GB_S] = { "gb_s", REC_REAL, 0 },
	[C_GFLOP_S] = { "gflop_s", REC_REAL, 0 },
	[C_N] = { NULL, 0, 0 },
};

static int
calibrate(struct emu_device *d, struct err *err)
{
	double us = 0, byte_s = 0, flop_s = 0;
	struct rec_in in;
	int rc;

	rec_in_open(&in, stdin, "-", "kern", 1, col);
	while ((rc = rec_next(&in, err)) == 1) {
		const struct rec_val *v = in.val;

		if (v[C_US].have && v[C_US].r > 0 &&
		    (us <= 0 || v[C_US].r < us))
			us = v[C_US].r;
		if (v[C_GB_S].have && v[C_GB_S].r * 1e9 > byte_s)
			byte_s = v[C_GB_S].r * 1e9;
		if (v[C_GFLOP_S].have && v[C_GFLOP_S].r * 1e9 > flop_s)
			flop_s = v[C_GFLOP_S].r * 1e9;
	}
	rec_in_close(&in);
	if (rc != 0)
		return -1;
	if (!(us > 0 && byte_s > 0 && flop_s > 0))
		return err_set(err, ERR_DATA, "stdin: no times, gb_s and "
		    "gflop_s to calibrate with");
	d->launch_us = us;
	d->byte_s = byte_s;
	d->flop_s = flop_s;
	d->byte_share = d->flop_share = 1;
	return 0;
}

int
bench_device_main(int argc, char **argv)
{
	const char *base = "a100-80";
	const struct cli_opt opt[] = {
		{ 0, "base", CLI_STR, &base, "NAME",
		    "whose links and fixed parts to take (default a100-80)", 0,
		    0, NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-bench", "device", "< KERN",
	    "Make a device to emulate of what kern measured.", opt };
	struct err err = ERR_INIT;
	struct emu_device d;
	int at = cli_parse(&c, argc, argv, &err);

	if (at >= 0 && at < argc)
		at = err_set(&err, ERR_USAGE, "what is '%s'?", argv[at]);
	if (at >= 0 && device_find(base, &d, &err) == 0 &&
	    calibrate(&d, &err) == 0 &&
	    device_write(&d, "moe-bench kern; links and fixed parts: base",
	    stdout, &err) == 0)
		return 0;
	return cli_fail(PROG, &err);
}
