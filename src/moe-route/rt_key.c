/* rt_key - `moe-route key`: makes keys, for HTTP clients and for peers. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cli.h"
#include "keys.h"
#include "rt.h"
#include "secret.h"

#define PROG	"moe-route key"
#define KEY	32	/* random bytes of a key */

struct make {
	const char *file;
	bool psk;
};

static int
parse(struct make *m, int argc, char **argv, struct err *err)
{
	const struct cli_opt opt[] = {
		{ 'o', "output", CLI_STR, &m->file, "FILE",
		    "append the line to FILE, not to stdout", 0, 0, NULL },
		{ 0, "psk", CLI_FLAG, &m->psk, NULL,
		    "a key for --psk-file, as it is; FILE must be new", 0, 0,
		    NULL },
		{ 0, NULL, CLI_FLAG, NULL, NULL, NULL, 0, 0, NULL },
	};
	const struct cli c = { "moe-route", "key", "",
	    "Make a random key, and the hashed line of it for a key file.",
	    opt };
	int at = cli_parse(&c, argc, argv, err);

	if (at >= 0 && at < argc)
		return err_set(err, ERR_USAGE, "what is '%s'?", argv[at]);
	return at < 0 ? -1 : 0;
}

static int
write_line(const struct make *m, const struct str *line, struct err *err)
{
	int how = O_WRONLY | O_CREAT | O_CLOEXEC, fd;
	ssize_t n;

	/* A second key in a file of one would make it useless. */
	how |= m->psk ? O_EXCL : O_APPEND;
	fd = open(m->file, how, 0600);
	if (fd < 0)
		return err_sys(err, ERR_USAGE, errno, "%s", m->file);
	n = write(fd, line->p, line->n);
	if (close(fd) != 0 || n != (ssize_t)line->n)
		return err_sys(err, ERR_TEMP, errno, "%s", m->file);
	return 0;
}

static int
make_key(const struct make *m, struct err *err)
{
	uint8_t raw[KEY + KEYS_SALT];
	struct str key = STR_INIT, line = STR_INIT;
	int rc = 0, i;

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return err_sys(err, ERR_TEMP, errno, "random numbers");
	for (i = 0; i < KEY; i++)
		str_addf(&key, "%02x", raw[i]);
	if (m->psk)
		str_addf(&line, "%s\n", key.p);
	else
		rc = keys_line(key.p, raw + KEY, &line, err);
	if (rc == 0 && m->file != NULL)
		rc = write_line(m, &line, err);
	if (rc == 0 && !m->psk)
		puts(key.p);
	if (rc == 0 && m->file == NULL)
		fputs(line.p, stdout);
	if (rc == 0 && fflush(stdout) != 0)
		rc = err_sys(err, ERR_TEMP, errno, "stdout");
	explicit_bzero(raw, sizeof(raw));
	secret_free(&key);
	secret_free(&line);
	return rc;
}

int
rt_key_main(int argc, char **argv)
{
	struct make m = { NULL, false };
	struct err err = ERR_INIT;

	if (parse(&m, argc, argv, &err) != 0 || make_key(&m, &err) != 0)
		return cli_fail(PROG, &err);
	return 0;
}
