/* num - numbers in text, with units.  Every parser takes the whole string:
 * trailing rubbish, overflow and an empty string are errors. */
#ifndef MOE_NUM_H
#define MOE_NUM_H

#include <stddef.h>
#include <stdint.h>

int	num_u64(const char *s, uint64_t *out);		/* 0, or -1 */
int	num_i64(const char *s, int64_t *out);
int	num_f64(const char *s, double *out);		/* finite only */
/* Bytes: 4096, 64k, 1.5M, 2G, 1T (powers of 1024; "KiB", "B" allowed). */
int	num_size(const char *s, uint64_t *out);
/* Time: 250ms, 1.5s, 30us, 10ns, 2m, 1h; a bare number is seconds. */
int	num_dur_ns(const char *s, uint64_t *out);

/* "13.8 GB" / "4.2 ms" into a static-size buffer, for messages. */
#define NUM_TEXT	24
const char *num_size_text(uint64_t bytes, char out[NUM_TEXT]);
const char *num_dur_text(uint64_t ns, char out[NUM_TEXT]);

#endif
