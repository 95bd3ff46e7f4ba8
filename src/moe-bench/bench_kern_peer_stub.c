/* bench_kern_peer_stub.c - a build without oneDNN has no peer to run. */
#include "bench_kern_peer.h"

int
bench_kern_peer_new(struct bench_kern_peer **p_p,
    const struct bench_kern_peer_make *m, struct err *err)
{
	(void)p_p;
	(void)m;
	return err_set(err, ERR_UNAVAIL, "--peer onednn: oneDNN is not in this "
	    "build (package libdnnl-dev, then build again)");
}

void
bench_kern_peer_free(struct bench_kern_peer *p)
{
	(void)p;
}

const char *
bench_kern_peer_name(const struct bench_kern_peer *p)
{
	(void)p;
	return "none";
}

void
bench_kern_peer_run(struct bench_kern_peer *p, size_t i)
{
	(void)p;
	(void)i;
}

void
bench_kern_peer_rest(struct bench_kern_peer *p)
{
	(void)p;
}

const void *
bench_kern_peer_y(const struct bench_kern_peer *p)
{
	(void)p;
	return NULL;
}
