/*
 * chat - the chat template of a model: messages in, prompt text out.
 *
 * Models bring their prompt format as a Jinja2 template, so this is an
 * interpreter for the part of Jinja2 that such templates use, with the
 * settings of the HF library: trim_blocks and lstrip_blocks on, autoescape
 * off, loop controls on, values immutable (as in its sandbox: list.append and
 * its like are errors), `generation` blocks passed through, tojson as
 * json.dumps(ensure_ascii=False).  One filter more, which templates use that
 * were written for other engines: from_json, which is json.loads.  What it does
 * not know it refuses: an unknown tag, filter, test or function when the
 * template is compiled, everything else when it is reached.  A prompt that
 * comes out is the prompt that the reference would give.
 *
 * Floor F4.  A compiled template is immutable: any number of threads may
 * render it at once.
 */
#ifndef MOE_CHAT_H
#define MOE_CHAT_H

#include <jansson.h>
#include <stddef.h>

#include "err.h"
#include "mem.h"
#include "str.h"

/* Bounds on one rendering; going over one is ERR_DATA, never a hang. */
#define CHAT_MAX_OUTPUT_BYTES	((size_t)16 << 20)
#define CHAT_MAX_MEMORY_BYTES	((size_t)256 << 20)
#define CHAT_MAX_STEPS		50000000ull
#define CHAT_MAX_DEPTH		400	/* of expressions, calls, data */
#define CHAT_MAX_RANGE		100000	/* elements, as the sandbox */
#define CHAT_MAX_TEMPLATE_BYTES	((size_t)4 << 20)

struct chat;

/* Bytes [begin, end) of a rendered text. */
struct chat_span {
	size_t begin, end;
};

/*
 * A rendered prompt.  untrusted lists, in order and without overlap or
 * adjacency, the bytes that come from the caller's data: everything in vars
 * except the special tokens (see chat_render), however it was cut, changed or
 * joined on its way.  Such bytes must never become (part of) a special token.
 * The rest is text of the template itself.
 */
struct chat_text {
	struct str text;
	VEC(struct chat_span) untrusted;
};

#define CHAT_TEXT_INIT { STR_INIT, { NULL, 0, 0 } }

/*
 * Compile the n bytes at text (UTF-8).  name stands in messages ("NAME line 3:
 * unknown filter 'foo'").  0, or -1 with ERR_DATA.  *out is the caller's, to
 * free with chat_free.
 */
int	chat_compile(struct chat **out, const char *text, size_t n,
	    const char *name, struct err *e);

/*
 * Compile the template of the checkpoint in dir: chat_template.jinja when there
 * is one (and which is NULL or "default"), else the chat_template of
 * tokenizer_config.json: a string, or a list of {name, template} from which
 * which ("default" when NULL) is taken.  0; 1 when dir has no such template
 * (*out is NULL, e holds ERR_UNAVAIL and says what was looked for); -1 when
 * there is one and it cannot be read or used (ERR_DATA).
 */
int	chat_load(struct chat **out, const char *dir, const char *which,
	    struct err *e);

/*
 * Render into *out (which is cleared first).  vars is an object: messages,
 * add_generation_prompt, and where there are any tools, documents and further
 * keywords of the template; a variable that is absent is undefined.  The
 * values of bos_token, eos_token, pad_token, unk_token, sep_token, cls_token
 * and mask_token are trusted, so they must come from the model's files and
 * never from a client.  vars is only read.  0; or -1 with ERR_DATA (the
 * template calls raise_exception: its message is in e; data of a kind that the
 * template cannot use; a limit) and *out empty.
 */
int	chat_render(const struct chat *c, json_t *vars, struct chat_text *out,
	    struct err *e);

void	chat_text_free(struct chat_text *t);
void	chat_free(struct chat *c);		/* NULL is fine */

#endif
