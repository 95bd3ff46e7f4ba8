/* sorted - measurements in order, and their middle. */
#ifndef MOE_SORTED_H
#define MOE_SORTED_H

#include <stddef.h>

/* Sort v[0..n) ascending; none is a NaN. */
void	sorted_f64(double *v, size_t n);
/* Of sorted values, n > 0; between the two in the middle if n is even. */
double	sorted_median(const double *v, size_t n);

#endif
