/* lines - see lines.h. */
#include "lines.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

#define BLANK	" \t\r"

int
lines_load(struct str *s, const char *path, size_t max, struct err *err)
{
	int e;

	if (str_read_file(s, path, max) == 0)
		return 0;
	e = errno;
	return err_sys(err, e == EFBIG ? ERR_DATA : ERR_USAGE, e, "%s", path);
}

int
lines_open(struct lines *l, const char *text, size_t n, size_t max,
    const char *path, const char *what, struct err *err)
{
	if (n > max || (n > 0 && memchr(text, '\0', n) != NULL))
		return err_set(err, ERR_DATA, "%s: not %s", path, what);
	l->path = path;
	l->line = 0;
	l->copy = l->next = mem_alloc(n + 1);
	if (n > 0)
		memcpy(l->copy, text, n);
	l->copy[n] = '\0';
	return 0;
}

char *
lines_next(struct lines *l)
{
	char *text = l->next;

	if (text == NULL)
		return NULL;
	l->line++;
	l->next = strchr(text, '\n');
	if (l->next != NULL)
		*l->next++ = '\0';
	text[strcspn(text, "\r")] = '\0';
	return text;
}

void
lines_close(struct lines *l)
{
	mem_free(l->copy);
	l->copy = l->next = NULL;
}

char *
lines_word(char **rest)
{
	char *w = *rest + strspn(*rest, BLANK);
	size_t n = strcspn(w, BLANK);

	*rest = w + n;
	if (w[n] != '\0')
		*(*rest)++ = '\0';
	return w;
}

int
lines_bad(const struct lines *l, struct err *err, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return err_set(err, ERR_DATA, "%s:%d: %s", l->path, l->line, text);
}
