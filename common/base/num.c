/* num - see num.h.  Floor F0. */
#include "num.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

int
num_u64(const char *s, uint64_t *out)
{
	char *end;
	unsigned long long v;

	if (!isdigit((unsigned char)s[0]))
		return -1;
	errno = 0;
	v = strtoull(s, &end, 10);
	if (errno != 0 || *end != '\0')
		return -1;
	*out = v;
	return 0;
}

int
num_i64(const char *s, int64_t *out)
{
	char *end;
	long long v;

	if (!isdigit((unsigned char)s[0]) && s[0] != '-')
		return -1;
	errno = 0;
	v = strtoll(s, &end, 10);
	if (errno != 0 || end == s || *end != '\0')
		return -1;
	*out = v;
	return 0;
}

/* A finite decimal at s; *end_p is where it stops. */
static int
decimal(const char *s, double *out, char **end_p)
{
	double v;

	if (!isdigit((unsigned char)s[0]) && s[0] != '-' && s[0] != '.')
		return -1;
	errno = 0;
	v = strtod(s, end_p);
	if (*end_p == s || !isfinite(v))
		return -1;
	*out = v;
	return 0;
}

int
num_f64(const char *s, double *out)
{
	char *end;
	double v;

	if (decimal(s, &v, &end) != 0 || *end != '\0')
		return -1;
	*out = v;
	return 0;
}

struct unit {
	const char *name;
	double factor;
};

static int
scaled(const char *s, const struct unit *unit, uint64_t *out)
{
	char *end;
	double v;

	if (decimal(s, &v, &end) != 0 || v < 0)
		return -1;
	for (; unit->name != NULL; unit++)
		if (strcasecmp(end, unit->name) == 0)
			break;
	if (unit->name == NULL)
		return -1;
	v *= unit->factor;
	if (v >= 18446744073709549568.0)
		return -1;
	*out = (uint64_t)(v + 0.5);
	return 0;
}

int
num_size(const char *s, uint64_t *out)
{
	static const struct unit unit[] = {
		{ "", 1 }, { "b", 1 },
		{ "k", 1024 }, { "kb", 1024 }, { "kib", 1024 },
		{ "m", 1048576 }, { "mb", 1048576 }, { "mib", 1048576 },
		{ "g", 1073741824 }, { "gb", 1073741824 },
		{ "gib", 1073741824 }, { "t", 1099511627776 },
		{ "tb", 1099511627776 }, { "tib", 1099511627776 },
		{ NULL, 0 },
	};

	return scaled(s, unit, out);
}

int
num_dur_ns(const char *s, uint64_t *out)
{
	static const struct unit unit[] = {
		{ "", 1e9 }, { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 },
		{ "s", 1e9 }, { "m", 60e9 }, { "min", 60e9 },
		{ "h", 3600e9 }, { NULL, 0 },
	};

	return scaled(s, unit, out);
}

const char *
num_size_text(uint64_t bytes, char out[NUM_TEXT])
{
	static const char *const name[] = { "B", "kB", "MB", "GB", "TB" };
	double v = (double)bytes;
	size_t i = 0;

	while (v >= 1000 && i + 1 < sizeof(name) / sizeof(name[0])) {
		v /= 1000;
		i++;
	}
	snprintf(out, NUM_TEXT, i == 0 ? "%.0f %s" : "%.1f %s", v, name[i]);
	return out;
}

const char *
num_dur_text(uint64_t ns, char out[NUM_TEXT])
{
	double v = (double)ns;

	if (ns < 1000)
		snprintf(out, NUM_TEXT, "%.0f ns", v);
	else if (ns < 1000000)
		snprintf(out, NUM_TEXT, "%.1f us", v / 1e3);
	else if (ns < 1000000000)
		snprintf(out, NUM_TEXT, "%.1f ms", v / 1e6);
	else
		snprintf(out, NUM_TEXT, "%.2f s", v / 1e9);
	return out;
}
