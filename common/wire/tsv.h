/*
 * tsv - one line of tab-separated cells, and the escapes within a cell.
 *
 *     \t tab   \n newline   \r return   \\ backslash
 *     \# a '#' that starts the line's first cell (else a comment line)
 *     \- a cell that is just "-" (a bare "-" means: no value)
 */
#ifndef MOE_TSV_H
#define MOE_TSV_H

#include <stdbool.h>
#include <stddef.h>

#include "str.h"

/* Append the cell's escaped form.  first: it starts the line.  A NULL value
 * is written as "-". */
void	tsv_put(struct str *line, const char *value, bool first);

/*
 * Cut line (NUL-terminated, no newline, changed in place) at its tabs.  Fills
 * at most max cells and returns how many there are in the line, which may be
 * more than max.  Cells are still escaped.
 */
size_t	tsv_split(char *line, char **cell, size_t max);

/* Undo the escapes in place.  NULL for a bare "-"; an unknown escape stands
 * for the character after the backslash. */
char	*tsv_value(char *cell);

#endif
