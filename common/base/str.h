/* str - a growable byte string, always NUL-terminated once touched. */
#ifndef MOE_STR_H
#define MOE_STR_H

#include <stdbool.h>
#include <stddef.h>

struct str {
	char *p;		/* NULL until the first byte; see str_c() */
	size_t n, cap;		/* n excludes the terminating NUL */
};

#define STR_INIT { NULL, 0, 0 }

void	str_add(struct str *s, const void *p, size_t n);
void	str_adds(struct str *s, const char *z);
void	str_addc(struct str *s, char c);
void	str_addf(struct str *s, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* Append the UTF-8 form of code point cp (U+FFFD for one that has none). */
void	str_addu(struct str *s, unsigned cp);
void	str_cut(struct str *s, size_t n);	/* shorten to n bytes */
void	str_clear(struct str *s);		/* to "", keeps the memory */
void	str_free(struct str *s);
const char *str_c(const struct str *s);		/* "" when empty */

/* Read a whole file (at most max bytes) into s.  -1 with errno set; EFBIG when
 * it is larger. */
int	str_read_file(struct str *s, const char *path, size_t max);

/* Length of the longest prefix of p[0..n) that does not end within a UTF-8
 * character; broken bytes count as whole characters. */
size_t	str_utf8_whole(const char *p, size_t n);
bool	str_utf8_valid(const char *p, size_t n);
/* Decode one code point at p[0..n); *len_p = bytes used (1 for a broken one,
 * with U+FFFD returned).  n > 0. */
unsigned str_utf8_next(const char *p, size_t n, size_t *len_p);

#endif
