/* front_read - see front_job.h: what the clients of a job get. */
#include <string.h>

#include "front_job.h"
#include "mem.h"

static const char done_event[] = "data: [DONE]\n\n";

static void
on_gone(struct http_req *r, void *arg)
{
	struct front_reader *reader = arg, **at;
	struct front_job *j = reader->job;

	(void)r;
	for (at = &j->reader; *at != reader; at = &(*at)->next)
		continue;
	*at = reader->next;
	mem_free(reader);
	j->door->stat.gone++;
	front_job_unread(j);
}

static void
send_piece(struct front_reader *reader, const char *p, size_t n)
{
	if (!reader->begun) {
		reader->begun = true;
		http_stream_begin(reader->r, 200, "text/event-stream");
	}
	/* false: too slow, and on_gone comes by itself */
	(void)http_stream_put(reader->r, p, n);
}

void
front_read_add(struct front_job *j, struct http_req *r)
{
	struct front_reader *reader = mem_zalloc(sizeof(*reader));

	reader->job = j;
	reader->r = r;
	reader->next = j->reader;
	j->reader = reader;
	http_on_gone(r, on_gone, reader);
	if (j->kept != NULL && j->ask.stream && j->kept->reply.n > 0)
		send_piece(reader, str_c(&j->kept->reply), j->kept->reply.n);
}

/* What is sent is kept as well, as long as there is room. */
static void
keep(struct front_job *j, const char *p, size_t n)
{
	if (j->kept == NULL || front_keep_add(&j->door->keep, j->kept, p, n))
		return;
	front_keep_drop(&j->door->keep, j->kept);
	j->kept = NULL;
}

void
front_read_put(struct front_job *j, const struct str *s)
{
	struct front_reader *reader;

	keep(j, str_c(s), s->n);
	for (reader = j->reader; reader != NULL; reader = reader->next)
		send_piece(reader, str_c(s), s->n);
}

static void
free_readers(struct front_job *j)
{
	struct front_reader *reader;

	while ((reader = j->reader) != NULL) {
		j->reader = reader->next;
		mem_free(reader);
	}
}

void
front_read_done(struct front_job *j)
{
	struct front_reader *reader;
	struct str s = STR_INIT;

	if (!j->ask.stream) {
		front_answer_whole(&j->answer, &s);
		keep(j, str_c(&s), s.n);
		for (reader = j->reader; reader != NULL; reader = reader->next)
			http_reply(reader->r, 200, "application/json", s.p,
			    s.n);
		str_free(&s);
	} else {
		str_adds(&s, done_event);
		front_read_put(j, &s);
		str_free(&s);
		for (reader = j->reader; reader != NULL; reader = reader->next)
			http_stream_end(reader->r);
	}
	free_readers(j);
}

void
front_read_fail(struct front_job *j, int status, const char *json, size_t n)
{
	struct front_reader *reader;
	struct str event = STR_INIT;

	str_adds(&event, "data: ");
	str_add(&event, json, n);
	str_adds(&event, "\n\n");
	for (reader = j->reader; reader != NULL; reader = reader->next) {
		if (reader->begun) {
			(void)http_stream_put(reader->r, event.p, event.n);
			http_stream_end(reader->r);
			continue;
		}
		if (j->retry_after[0] != '\0')
			http_add_header(reader->r, "Retry-After",
			    j->retry_after);
		http_reply(reader->r, status, "application/json", json, n);
	}
	str_free(&event);
	free_readers(j);
}

void
front_read_replay(const struct front_kept *e, struct http_req *r)
{
	http_add_header(r, "Idempotent-Replayed", "true");
	if (!e->stream) {
		http_reply(r, 200, "application/json", str_c(&e->reply),
		    e->reply.n);
		return;
	}
	http_stream_begin(r, 200, "text/event-stream");
	(void)http_stream_put(r, str_c(&e->reply), e->reply.n);
	http_stream_end(r);
}
