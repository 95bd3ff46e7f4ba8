/* front_relay - see front_door.h: requests whose reply is small and whole. */
#include <ctype.h>
#include <string.h>

#include "front_door.h"
#include "mem.h"

#define MAX_REPLY	(16u << 20)

struct front_relay {
	struct front_door *door;
	struct front_relay *next, **prev_p;
	struct http_req *r;
	char *path;
	struct front_up *up;
	struct front_call *call;
	int status;
	struct str reply;
	bool too_large;
	uint64_t skip;
};

static void	look_for(struct front_relay *x);

static void
free_relay(struct front_relay *x)
{
	struct front_door *d = x->door;

	front_call_cancel(x->call);
	if (x->up != NULL)
		front_up_end(x->up);
	*x->prev_p = x->next;
	if (x->next != NULL)
		x->next->prev_p = x->prev_p;
	str_free(&x->reply);
	mem_free(x->path);
	mem_free(x);
	d->n_relay--;
	front_door_left(d);
}

static void
on_gone(struct http_req *r, void *arg)
{
	(void)r;
	free_relay(arg);
}

static void
on_head(void *user, int status)
{
	struct front_relay *x = user;

	x->status = status;
}

static void
on_data(void *user, const char *p, size_t n)
{
	struct front_relay *x = user;

	if (x->reply.n + n > MAX_REPLY)
		x->too_large = true;
	else
		str_add(&x->reply, p, n);
}

/* This front end did not do it: the next one. */
static void
again(struct front_relay *x)
{
	x->skip |= UINT64_C(1) << x->up->index;
	front_up_end(x->up);
	x->up = NULL;
	front_call_cancel(x->call);
	x->call = NULL;
	str_clear(&x->reply);
	look_for(x);
}

static void
on_end(void *user, const char *why)
{
	struct front_relay *x = user;
	const struct http_error bad = { .status = 502 };
	char type[128] = "application/json", retry[16];

	if (why != NULL) {
		front_up_failed(x->up, why);
		again(x);
		return;
	}
	if (x->status == 503 && front_up_pick(&x->door->pool, 0, x->skip |
	    UINT64_C(1) << x->up->index) != NULL) {
		again(x);
		return;
	}
	(void)front_call_header(x->call, "Content-Type", type, sizeof(type));
	if (front_call_header(x->call, "Retry-After", retry, sizeof(retry)))
		http_add_header(x->r, "Retry-After", retry);
	if (x->too_large)
		http_fail(x->r, &bad, "the front end's reply is too large");
	else
		http_reply(x->r, x->status, type, str_c(&x->reply),
		    x->reply.n);
	free_relay(x);
}

static const struct front_call_fn call_fn = { on_head, on_data, on_end };

static void
look_for(struct front_relay *x)
{
	struct front_req q = { .method = http_method(x->r), .path = x->path,
	    .auth = http_header(x->r, "authorization") };
	struct front_door *d = x->door;
	char why[256];

	x->up = front_up_pick(&d->pool, 0, x->skip);
	if (x->up == NULL) {
		front_door_why(d, why, sizeof(why));
		front_door_refuse(d, x->r, why);
		free_relay(x);
		return;
	}
	if (strcmp(q.method, "POST") == 0)
		q.body = http_body(x->r, &q.n_body);
	else
		q.method = "GET";
	front_up_begin(x->up);
	x->call = front_call_start(d->o.loop, &x->up->addr, &q, &call_fn, x);
}

/* The path as it may stand in a request. */
static char *
encode_path(const char *path)
{
	struct str s = STR_INIT;

	for (; *path != '\0'; path++) {
		if (isalnum((unsigned char)*path) ||
		    strchr("/-._~", *path) != NULL)
			str_addc(&s, *path);
		else
			str_addf(&s, "%%%02X", (unsigned char)*path);
	}
	return s.p;
}

void
front_relay_start(struct front_door *d, struct http_req *r)
{
	struct front_relay *x = mem_zalloc(sizeof(*x));

	x->door = d;
	x->r = r;
	x->path = encode_path(http_path(r));
	x->next = d->relay;
	x->prev_p = &d->relay;
	if (d->relay != NULL)
		d->relay->prev_p = &x->next;
	d->relay = x;
	d->n_relay++;
	http_on_gone(r, on_gone, x);
	look_for(x);
}

void
front_relay_hung(struct front_door *d, struct front_up *u)
{
	struct front_relay *x, *next;

	for (x = d->relay; x != NULL; x = next) {
		next = x->next;
		if (x->up == u && front_call_heard_ns(x->call) < u->probe_ns)
			again(x);
	}
}

void
front_relay_stop(struct front_door *d)
{
	while (d->relay != NULL)
		free_relay(d->relay);
}
