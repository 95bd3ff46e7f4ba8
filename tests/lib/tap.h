/*
 * tap.h - the whole unit-test framework: one binary per module, TAP on
 * stdout, and an exit status that counts.  End main() with `return tap_done();`
 */
#ifndef MOE_TAP_H
#define MOE_TAP_H

#include <stdio.h>
#include <string.h>

static int tap_n, tap_bad;

/* Check cond; the message says what should hold.  Yields cond. */
#define OK(cond, ...)	tap_ok((cond) ? 1 : 0, __FILE__, __LINE__, __VA_ARGS__)
#define EQ_INT(a, b, ...)						\
	do {								\
		long long a_ = (long long)(a), b_ = (long long)(b);	\
		if (!OK(a_ == b_, __VA_ARGS__))				\
			printf("#   got %lld, want %lld\n", a_, b_);	\
	} while (0)
#define EQ_STR(a, b, ...)						\
	do {								\
		const char *a_ = (a), *b_ = (b);			\
		if (!OK(strcmp(a_, b_) == 0, __VA_ARGS__))		\
			printf("#   got '%s'\n#  want '%s'\n", a_, b_);	\
	} while (0)

__attribute__((format(printf, 4, 5), unused)) static int
tap_ok(int good, const char *file, int line, const char *fmt, ...)
{
	__builtin_va_list ap;

	tap_n++;
	if (!good)
		tap_bad++;
	printf("%sok %d - ", good ? "" : "not ", tap_n);
	__builtin_va_start(ap, fmt);
	vprintf(fmt, ap);
	__builtin_va_end(ap);
	printf("\n");
	if (!good)
		printf("#   at %s:%d\n", file, line);
	return good;
}

__attribute__((unused)) static int
tap_done(void)
{
	printf("1..%d\n", tap_n);
	fflush(stdout);
	return tap_bad != 0 || tap_n == 0;
}

#endif
