/*
 * err - an error that a library hands to its caller.
 *
 * Libraries never print and never exit.  A function that can fail takes a
 * struct err, returns -1 (or NULL), and whoever first decides that something
 * is an error writes the text; callers only prepend context.  The codes are
 * the exit codes of the programs (sysexits subset), so that main() can return
 * err.code as it is.
 */
#ifndef MOE_ERR_H
#define MOE_ERR_H

enum err_code {
	ERR_NONE = 0,
	ERR_NO = 1,		/* ran correctly, the verdict is no */
	ERR_USAGE = 64,		/* the call is wrong: fix the call */
	ERR_DATA = 65,		/* malformed input: fix the data */
	ERR_UNAVAIL = 69,	/* not in this build or on this machine */
	ERR_BUG = 70,		/* our fault */
	ERR_TEMP = 75,		/* peer absent, port busy: try again */
};

struct err {
	int code;		/* enum err_code; 0 until something failed */
	char text[1000];	/* one line, no newline, fit to print as it is */
};

#define ERR_INIT { 0, { 0 } }

/* Write code and text (cut at the buffer's end).  Always returns -1, so that
 * a function can say `return err_set(e, ...)`.  e may be NULL. */
int	err_set(struct err *e, int code, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

/* As err_set, and append ": " and the text of errnum (a value of errno). */
int	err_sys(struct err *e, int code, int errnum, const char *fmt, ...)
	    __attribute__((format(printf, 4, 5)));

/* Prepend "context: " to the text.  Always returns -1. */
int	err_ctx(struct err *e, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));

/* Impossible state: print file:line and the text to stderr, then abort(). */
_Noreturn void err_bug(const char *file, int line, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));

#define BUG(...)	err_bug(__FILE__, __LINE__, __VA_ARGS__)
#define BUG_ON(cond)	do { if (cond) BUG("%s", #cond); } while (0)

#endif
