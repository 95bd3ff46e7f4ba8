/* str - see str.h.  Floor F0. */
#include "str.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mem.h"

static void
room(struct str *s, size_t extra)
{
	mem_grow((void **)&s->p, &s->cap, s->n + extra + 1, 1);
}

void
str_add(struct str *s, const void *p, size_t n)
{
	room(s, n);
	if (n > 0)
		memcpy(s->p + s->n, p, n);
	s->n += n;
	s->p[s->n] = '\0';
}

void
str_adds(struct str *s, const char *z)
{
	str_add(s, z, strlen(z));
}

void
str_addc(struct str *s, char c)
{
	str_add(s, &c, 1);
}

void
str_addf(struct str *s, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return;
	room(s, (size_t)n);
	va_start(ap, fmt);
	vsnprintf(s->p + s->n, (size_t)n + 1, fmt, ap);
	va_end(ap);
	s->n += (size_t)n;
}

void
str_addu(struct str *s, unsigned cp)
{
	char b[4];

	if (cp > 0x10ffff || (cp >= 0xd800 && cp < 0xe000))
		cp = 0xfffd;
	if (cp < 0x80) {
		str_addc(s, (char)cp);
	} else if (cp < 0x800) {
		b[0] = (char)(0xc0 | cp >> 6);
		b[1] = (char)(0x80 | (cp & 0x3f));
		str_add(s, b, 2);
	} else if (cp < 0x10000) {
		b[0] = (char)(0xe0 | cp >> 12);
		b[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		b[2] = (char)(0x80 | (cp & 0x3f));
		str_add(s, b, 3);
	} else {
		b[0] = (char)(0xf0 | cp >> 18);
		b[1] = (char)(0x80 | (cp >> 12 & 0x3f));
		b[2] = (char)(0x80 | (cp >> 6 & 0x3f));
		b[3] = (char)(0x80 | (cp & 0x3f));
		str_add(s, b, 4);
	}
}

void
str_cut(struct str *s, size_t n)
{
	if (n < s->n) {
		s->n = n;
		s->p[n] = '\0';
	}
}

void
str_clear(struct str *s)
{
	str_cut(s, 0);
}

void
str_free(struct str *s)
{
	mem_free(s->p);
	s->p = NULL;
	s->n = s->cap = 0;
}

const char *
str_c(const struct str *s)
{
	return s->p != NULL ? s->p : "";
}

int
str_read_file(struct str *s, const char *path, size_t max)
{
	FILE *f = fopen(path, "re");
	char buf[16384];
	size_t n;
	int bad;

	if (f == NULL)
		return -1;
	while ((n = fread(buf, 1, sizeof(buf), f)) > 0) {
		if (s->n + n > max) {
			fclose(f);
			errno = EFBIG;
			return -1;
		}
		str_add(s, buf, n);
	}
	bad = ferror(f) ? (errno ? errno : EIO) : 0;
	fclose(f);
	if (s->p == NULL)
		str_adds(s, "");
	errno = bad;
	return bad ? -1 : 0;
}

/* Length that a lead byte announces; 0 for a byte that cannot lead. */
static size_t
lead_len(unsigned char c)
{
	if (c < 0x80)
		return 1;
	if (c >= 0xc2 && c < 0xe0)
		return 2;
	if (c >= 0xe0 && c < 0xf0)
		return 3;
	if (c >= 0xf0 && c < 0xf5)
		return 4;
	return 0;
}

/* May c follow as byte number i of a character led by lead? (RFC 3629) */
static bool
may_follow(unsigned char lead, size_t i, unsigned char c)
{
	if ((c & 0xc0) != 0x80)
		return false;
	if (i > 1)
		return true;
	switch (lead) {
	case 0xe0: return c >= 0xa0;
	case 0xed: return c < 0xa0;
	case 0xf0: return c >= 0x90;
	case 0xf4: return c < 0x90;
	default: return true;
	}
}

unsigned
str_utf8_next(const char *p, size_t n, size_t *len_p)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t want = lead_len(u[0]), i;
	unsigned cp;

	*len_p = 1;
	if (want == 0 || want > n)
		return 0xfffd;
	if (want == 1)
		return u[0];
	cp = u[0] & (0xffu >> (want + 1));
	for (i = 1; i < want; i++) {
		if (!may_follow(u[0], i, u[i]))
			return 0xfffd;
		cp = cp << 6 | (u[i] & 0x3f);
	}
	*len_p = want;
	return cp;
}

bool
str_utf8_valid(const char *p, size_t n)
{
	size_t i = 0, len;

	while (i < n) {
		if (str_utf8_next(p + i, n - i, &len) == 0xfffd && len == 1)
			return false;
		i += len;
	}
	return true;
}

size_t
str_utf8_whole(const char *p, size_t n)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t back, i, want;

	for (back = 1; back <= 3 && back <= n; back++) {
		want = lead_len(u[n - back]);
		if (want == 0)
			continue;
		if (want <= back)
			return n;
		for (i = 1; i < back; i++)
			if (!may_follow(u[n - back], i, u[n - back + i]))
				return n;
		return n - back;
	}
	return n;
}
