/*
 * cluster - the cluster file, moe-cluster(5): who is in a cluster and where.
 *
 *     moe-cluster 1
 *     model models/tales
 *     replicas 2
 *     psk-file /etc/moe/key
 *     expert e1 shm:/run/moe/e1.sock
 *     expert e2 tcp:10.0.0.2:7001 weight=2
 *     front f1 127.0.0.1:8080
 *     front f2 127.0.0.1:8081 tcp:127.0.0.1:8082
 *     route r1 tcp:127.0.0.1:7000
 *
 * One word of kind, then its values, a line each; blank lines and what follows
 * a '#' are skipped.  The first line names the format.  Immutable once read.
 * Floor F4.
 */
#ifndef MOE_CLUSTER_H
#define MOE_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "str.h"

enum cluster_role { CLUSTER_EXPERT = 1, CLUSTER_FRONT = 2, CLUSTER_ROUTE = 3 };

#define CLUSTER_MAX_MEMBER	4096
#define CLUSTER_MAX_BYTES	(1u << 20)
#define CLUSTER_WEIGHT_MIN	0.01
#define CLUSTER_WEIGHT_MAX	100

struct cluster_member {
	enum cluster_role role;
	char *name;		/* letters, digits, '-', '_', '.'; unique */
	char *addr;		/* expert, route: a link address; front: HOST:PORT */
	char *pages;		/* front: where it takes copies of KV pages, a
				 * link address; NULL: nowhere */
	double weight;		/* expert: its share, in proportion to others' */
	int line;
};

struct cluster {
	char *path;		/* for messages */
	char *model;		/* as written; NULL: not said */
	char *psk_file;		/* as written; NULL: not said */
	int replicas;		/* copies of each expert; default 1 */
	struct cluster_member *member;	/* in file order */
	size_t n_member, cap_member;
};

/* 0; -1: ERR_DATA "FILE:LINE: ..." (ERR_USAGE when it cannot be opened). */
int	cluster_read(struct cluster **out, const char *path, struct err *err);
int	cluster_parse(struct cluster **out, const char *text, size_t n,
	    const char *path, struct err *err);
void	cluster_free(struct cluster *c);	/* NULL is fine */

/* Append the canonical text; parsing it gives the same cluster. */
void	cluster_write(const struct cluster *c, struct str *out);

/* The member of that role and name; name NULL: the first of the role.  NULL:
 * there is none. */
const struct cluster_member *cluster_find(const struct cluster *c,
	    enum cluster_role role, const char *name);
size_t	cluster_count(const struct cluster *c, enum cluster_role role);
/* May a member be called this?  Letters, digits, - _ . and at most 47. */
bool	cluster_name_ok(const char *name);
const char *cluster_role_name(enum cluster_role role);	/* "expert" */

#endif
