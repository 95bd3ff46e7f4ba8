/* log - see log.h.  Floor F0. */
#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

static struct {
	char who[96];
	enum log_level level;
	bool journal;		/* stderr goes to journald: <N> prefixes */
	uint64_t start_ns;
} lg = { "moe", LOG_INFO, false, 0 };

void
log_init(const char *prog, const char *name, enum log_level level)
{
	if (name != NULL)
		snprintf(lg.who, sizeof(lg.who), "%s[%s]", prog, name);
	else
		snprintf(lg.who, sizeof(lg.who), "%s", prog);
	lg.level = level;
	lg.journal = getenv("JOURNAL_STREAM") != NULL;
	lg.start_ns = clock_ns();
}

enum log_level
log_level(void)
{
	return lg.level;
}

void
log_at(enum log_level level, const char *fmt, ...)
{
	static const char *const word[] = { "error: ", "warn: ", "", "debug: " };
	static const int prio[] = { 3, 4, 6, 7 };
	char line[1400];
	va_list ap;
	int n = 0;

	if (level > lg.level)
		return;
	if (lg.journal)
		n = snprintf(line, sizeof(line), "<%d>", prio[level]);
	if (lg.level >= LOG_DEBUG)
		n += snprintf(line + n, sizeof(line) - (size_t)n, "%.3f ",
		    (double)(clock_ns() - lg.start_ns) / 1e9);
	n += snprintf(line + n, sizeof(line) - (size_t)n, "%s: %s", lg.who,
	    word[level]);
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n] = '\n';
	if (write(STDERR_FILENO, line, (size_t)n + 1) < 0)
		return;		/* nowhere left to say it */
}
