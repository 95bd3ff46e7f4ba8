/*
 * map - which servers have which experts, as a version.
 *
 * Built once, then immutable and shared by reference count (any thread).
 * Text form: the stream #moe:map/1, moe-stream(5), one record for each
 * (layer, expert, server).
 */
#ifndef MOE_MAP_H
#define MOE_MAP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "err.h"
#include "str.h"

#define MAP_MAX_SERVER	4096
#define MAP_MAX_CELL	(1 << 20)	/* layers x experts of a map as text:
				 * more than a message has records */

struct map;

/* ---- building ---- */

/* An empty map; moe[l]: does layer l have experts (NULL: all do)? */
struct map *map_new(uint32_t version, int n_layer, const bool *moe,
	    int n_expert);
/* Returns the server's index; servers are numbered as they are added. */
int	map_add_server(struct map *m, const char *name, const char *addr);
/* One more server of an expert; share > 0 weights it among the replicas.  A
 * server counts once.  Indices out of range abort. */
void	map_add(struct map *m, int layer, int expert, int server,
	    double share);
/* One server of an expert less, if it is there. */
void	map_drop(struct map *m, int layer, int expert, int server);
/* Shares such that the loads of servers are as weight[server] (above 0): in
 * each layer a copy weighs weight / copies of the server; all 1 when all
 * weights are the same. */
void	map_weigh(struct map *m, const double *weight);
void	map_set_version(struct map *m, uint32_t version);
/* A copy that may be built on. */
struct map *map_copy(const struct map *m);
/* Every expert of a layer that has experts is on some server?  -1: ERR_DATA. */
int	map_check(const struct map *m, struct err *err);

struct map *map_ref(struct map *m);
void	map_unref(struct map *m);	/* NULL is fine; frees the last */

/* ---- asking ---- */

uint32_t map_version(const struct map *m);
int	map_n_layer(const struct map *m);
int	map_n_expert(const struct map *m);
int	map_n_server(const struct map *m);
bool	map_layer_moe(const struct map *m, int layer);
const char *map_server_name(const struct map *m, int server);
const char *map_server_addr(const struct map *m, int server);
int	map_server_find(const struct map *m, const char *name);	/* -1: none */
/* *server_p: the servers of an expert; returns how many. */
int	map_replicas(const struct map *m, int layer, int expert,
	    const uint16_t **server_p);
double	map_share(const struct map *m, int layer, int expert, int i);
bool	map_holds(const struct map *m, int server, int layer, int expert);
/* The same experts on the same servers at the same addresses with the same
 * shares (to 0.1 %), whatever the versions and the numbers of servers. */
bool	map_same(const struct map *a, const struct map *b);
/* Experts (copies) on a server, over all layers; of one layer. */
int	map_count(const struct map *m, int server);
int	map_layer_count(const struct map *m, int server, int layer);

/* ---- text ---- */

int	map_write(const struct map *m, FILE *fp, bool json, struct err *err);
/* The same into memory; *out is cleared first. */
void	map_text(const struct map *m, struct str *out);
/* path is for messages.  Checked by map_check. */
int	map_read(struct map **out, FILE *fp, const char *path,
	    struct err *err);
int	map_read_text(struct map **out, const void *text, size_t n,
	    const char *path, struct err *err);

#endif
