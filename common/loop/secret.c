/* secret - see secret.h. */
#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "num.h"

#define FD	"fd:"
#define CHUNK	4096

static int
read_fd(struct str *out, int fd)
{
	char some[CHUNK];
	ssize_t n;

	for (;;) {
		n = read(fd, some, sizeof(some));
		if (n < 0 && errno == EINTR)
			continue;
		if (n > 0)
			str_add(out, some, (size_t)n);
		explicit_bzero(some, sizeof(some));
		if (n <= 0)
			return (int)n;
		if (out->n > SECRET_MAX) {
			errno = EFBIG;
			return -1;
		}
	}
}

int
secret_read(struct str *out, const char *from, bool *open_p, struct err *err)
{
	bool given = strncmp(from, FD, strlen(FD)) == 0;
	struct stat st;
	uint64_t v = 0;
	int fd, rc;

	if (given && (num_u64(from + strlen(FD), &v) != 0 || v > 65535))
		return err_set(err, ERR_USAGE, "%s: not a descriptor", from);
	fd = given ? (int)v : open(from, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0)
		return err_sys(err, ERR_DATA, errno, "key file %s", from);
	rc = read_fd(out, fd);
	if (rc != 0) {
		err_sys(err, ERR_DATA, errno, "key file %s", from);
		secret_free(out);
	}
	close(fd);
	*open_p = !given && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0;
	return rc;
}

void
secret_free(struct str *s)
{
	if (s->p != NULL)
		explicit_bzero(s->p, s->n);
	str_free(s);
}

char *
secret_line(char **at)
{
	char *line, *end;

	while (*at != NULL) {
		line = *at;
		*at = strchr(line, '\n');
		if (*at != NULL)
			*(*at)++ = '\0';
		line += strspn(line, " \t\r");
		end = line + strlen(line);
		while (end > line && strchr(" \t\r", end[-1]) != NULL)
			*--end = '\0';
		if (*line != '\0' && *line != '#')
			return line;
	}
	return NULL;
}
