/* tsv.c - F1.  Cells and escapes; no state, any thread. */
#include "tsv.h"

#include <string.h>

void
tsv_put(struct str *line, const char *value, bool first)
{
	const char *p;

	if (value == NULL) {
		str_addc(line, '-');
		return;
	}
	if (strcmp(value, "-") == 0 || (first && value[0] == '#'))
		str_addc(line, '\\');
	for (p = value; *p != '\0'; p++) {
		switch (*p) {
		case '\t':
			str_adds(line, "\\t");
			break;
		case '\n':
			str_adds(line, "\\n");
			break;
		case '\r':
			str_adds(line, "\\r");
			break;
		case '\\':
			str_adds(line, "\\\\");
			break;
		default:
			str_addc(line, *p);
		}
	}
}

size_t
tsv_split(char *line, char **cell, size_t max)
{
	size_t n = 0;
	char *tab;

	for (;;) {
		if (n < max)
			cell[n] = line;
		n++;
		tab = strchr(line, '\t');
		if (tab == NULL)
			return n;
		*tab = '\0';
		line = tab + 1;
	}
}

char *
tsv_value(char *cell)
{
	char *in, *out;

	if (strcmp(cell, "-") == 0)
		return NULL;
	for (in = out = cell; *in != '\0'; in++) {
		if (*in != '\\' || in[1] == '\0') {
			*out++ = *in;
			continue;
		}
		in++;
		*out++ = *in == 't' ? '\t' : *in == 'n' ? '\n' :
		    *in == 'r' ? '\r' : *in;
	}
	*out = '\0';
	return cell;
}
