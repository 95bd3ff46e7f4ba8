/*
 * chat_priv - what the files of the chat template interpreter share.
 *
 *   chat.c         files, variables, the public calls
 *   chat_lex.c     template text -> tokens
 *   chat_parse.c, chat_expr.c  tokens -> expressions
 *   chat_stmt.c    -> statements
 *   chat_exec.c    statements;  chat_eval.c  expressions;  chat_op.c operators
 *   chat_value.c   memory, limits, lists, dictionaries
 *   chat_buf.c     strings whose bytes remember where they came from
 *   chat_repr.c    values as text: str(), repr(), JSON;  chat_format.c  formats
 *   chat_filter.c, chat_seq.c   filters;  chat_is.c  tests
 *   chat_method.c, chat_split.c  methods of str and dict;
 *    chat_func.c  global functions
 *
 * Errors are sticky: the first chat_fail() of a run writes the text, every
 * later step does nothing, and whoever loops asks r->failed.  All memory of a
 * run comes from one arena that goes away with the run.
 */
#ifndef MOE_CHAT_PRIV_H
#define MOE_CHAT_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chat.h"

/* ---- memory ------------------------------------------------------ */

struct chat_arena {
	struct chat_chunk *head;
	size_t bytes;			/* handed out so far */
};

/* n zeroed bytes, aligned for anything. */
void	*chat_value_alloc(struct chat_arena *a, size_t n);
void	chat_value_free(struct chat_arena *a);

/* ---- values ------------------------------------------------------ */

enum chat_kind {
	CV_MISSING = 0,		/* an argument that was not given */
	CV_UNDEF,		/* u.s: the name, for messages */
	CV_NONE, CV_BOOL, CV_INT, CV_FLOAT, CV_STR,
	CV_SEQ, CV_DICT,
	CV_NS,			/* namespace(): u.d, the one mutable thing */
	CV_MACRO, CV_LOOP, CV_FUNC, CV_METHOD,
};

/* What Python would have for a CV_SEQ; decides indexing, truth, printing. */
enum chat_seq_kind { CS_LIST, CS_TUPLE, CS_RANGE, CS_VIEW, CS_GEN };

struct chat_value {
	uint8_t kind;		/* enum chat_kind */
	bool dirty;		/* derived from the caller's data */
	union {
		bool b;
		int64_t i;
		double f;
		const struct chat_str *s;
		struct chat_seq *q;
		struct chat_dict *d;
		struct chat_macro *m;
		struct chat_loop *l;
		const struct chat_fn *fn;
		struct chat_bound *bound;
	} u;
};

/* An immutable UTF-8 string.  Byte i is untrusted when t ? t[i] : dirty. */
struct chat_str {
	const char *p;
	const unsigned char *t;
	size_t n;
	bool dirty;
	bool safe;		/* Markup: joining escapes what is not */
	struct chat_buf *home;	/* may be appended to in place, or NULL */
};

struct chat_seq {
	struct chat_value *p;
	size_t n, cap;
	size_t pos;		/* CS_GEN: elements already taken */
	enum chat_seq_kind kind;
};

struct chat_pair {
	struct chat_value k, v;
};

struct chat_dict {
	struct chat_pair *p;
	size_t n, cap;
};

struct chat_bound {
	struct chat_value self;
	const struct chat_fn *fn;
};

struct chat_buf {
	char *p;
	unsigned char *t;
	size_t n, cap;
};

/* ---- the syntax tree --------------------------------------------- */

enum chat_node_kind {
	CN_CONST, CN_NAME, CN_LIST, CN_TUPLE, CN_DICT, CN_PAIR, CN_ATTR,
	CN_ITEM, CN_SLICE, CN_CALL, CN_KWARG, CN_FILTER, CN_TEST, CN_COND,
	CN_AND, CN_OR, CN_NOT, CN_NEG, CN_POS, CN_BIN, CN_CONCAT, CN_CMP,
	CN_OPERAND, CN_NSREF, CN_CAPTURED,
	CN_TEXT, CN_PRINT, CN_IF, CN_BRANCH, CN_FOR, CN_SET, CN_SETBLOCK,
	CN_MACRO, CN_PARAM, CN_CALLBLOCK, CN_FILTERBLOCK, CN_SCOPE, CN_BREAK,
	CN_CONTINUE, CN_BODY,
};

enum chat_op {
	OP_ADD, OP_SUB, OP_MUL, OP_DIV, OP_FLOORDIV, OP_MOD, OP_POW,
	OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_IN, OP_NOTIN,
};

/* Bits of chat_node.op of a macro: which implicit names its body uses. */
enum { CM_CALLER = 1, CM_VARARGS = 2, CM_KWARGS = 4 };

struct chat_node {
	enum chat_node_kind kind;
	int op;			/* enum chat_op, a flag, or macro bits */
	int line;
	int sym;		/* index into chat.syms, -1 none */
	struct chat_value k;	/* CN_CONST, CN_TEXT, CN_ATTR (the name) */
	const struct chat_fn *fn;	/* CN_FILTER, CN_TEST */
	struct chat_node *a, *b, *c;	/* by kind, see chat_parse.c */
	struct chat_node *list;	/* children, linked by next */
	struct chat_node *other;	/* CN_FOR: the else part */
	struct chat_node *next;
};

enum { CSYM_LOOP, CSYM_CALLER, CSYM_VARARGS, CSYM_KWARGS };

struct chat {
	struct chat_arena arena;
	char *name;
	VEC(const struct chat_str *) syms;
	struct chat_node *body;		/* CN_BODY */
};

/* ---- tokens ------------------------------------------------------ */

enum chat_tok_kind {
	CT_EOF, CT_DATA, CT_BLOCK_BEGIN, CT_BLOCK_END, CT_VAR_BEGIN,
	CT_VAR_END, CT_NAME, CT_STRING, CT_INT, CT_FLOAT, CT_OP,
};

struct chat_tok {
	enum chat_tok_kind kind;
	int line;
	const char *p;		/* name, operator, data, unescaped string */
	size_t n;
	int64_t i;
	double f;
};

struct chat_toks {
	struct chat_tok *p;	/* ends with CT_EOF */
	size_t n, cap;
};

/* Tokens of the n bytes at text into *out (memory: mem.h and c->arena).
 * 0, or -1 with ERR_DATA. */
int	chat_lex(struct chat *c, const char *text, size_t n,
	    struct chat_toks *out, struct err *e);

struct chat_parser {
	struct chat *c;
	const struct chat_tok *t;	/* the current token */
	struct err *e;
	bool failed;
	int depth;
	int in_loop;
	int macro_bits;			/* CM_* used so far in this macro */
	int block_depth;
	VEC(unsigned char) assigned;	/* by symbol: set somewhere */
	VEC(const struct chat_node *) uses;	/* names read */
};

#define CHAT_MAX_SYMS	20000

/* Fail at line; returns NULL so that parsers can return it. */
void	*chat_parse_fail(struct chat_parser *p, int line, const char *fmt, ...)
	    __attribute__((format(printf, 3, 4)));
struct chat_node *chat_parse_node(struct chat_parser *p,
	    enum chat_node_kind kind);
struct chat_node *chat_expr(struct chat_parser *p);
/* One expression or, with commas, a tuple. */
struct chat_node *chat_expr_tuple(struct chat_parser *p);
/* The same without a bare if-else: what stands behind `in` of a for. */
struct chat_node *chat_expr_iterable(struct chat_parser *p);
/* `x`, `a, b`, `(a, b)`; ns: `x.y` as well. */
struct chat_node *chat_expr_target(struct chat_parser *p, bool ns);
/* Zero or more `| filter` around in; first: the name comes without a bar. */
struct chat_node *chat_parse_filters(struct chat_parser *p,
	    struct chat_node *in, bool first);
struct chat_node *chat_parse_call(struct chat_parser *p,
	    struct chat_node *callee);
int	chat_parse_sym(struct chat_parser *p, const char *s, size_t n);
void	chat_parse_assign(struct chat_parser *p, int sym);
/* The fixed text of a token. */
bool	chat_parse_tok(const struct chat_tok *t, enum chat_tok_kind kind,
	    const char *z);
/* One level deeper; false when that is too deep. */
bool	chat_parse_deeper(struct chat_parser *p);
/* Append n to a node's children; *tail_p is where the next one goes. */
void	chat_parse_append(struct chat_node ***tail_p, struct chat_node *n);
/* item, or a tuple of them when there are commas. */
struct chat_node *chat_parse_items(struct chat_parser *p,
	    struct chat_node *(*item)(struct chat_parser *), bool may_be_empty);
/* An operand with its sign and, with_filter, its filters and tests. */
struct chat_node *chat_parse_unary(struct chat_parser *p, bool with_filter);
bool	chat_parse_is(const struct chat_parser *p, const char *op);
bool	chat_parse_is_name(const struct chat_parser *p, const char *name);
bool	chat_parse_skip(struct chat_parser *p, const char *op);
bool	chat_parse_skip_name(struct chat_parser *p, const char *name);
/* Go past the operator op, or fail. */
void	chat_parse_expect(struct chat_parser *p, const char *op);
void	chat_parse_next(struct chat_parser *p);
/* The current token, a name, as a string; goes past it. */
struct chat_value chat_parse_take(struct chat_parser *p);
/* A literal, a name or something in brackets. */
struct chat_node *chat_parse_primary(struct chat_parser *p);
/* The current token for messages. */
const char *chat_parse_seen(const struct chat_parser *p, char buf[64]);

/* The whole template into c->body.  0, or -1 with ERR_DATA. */
int	chat_stmt_parse(struct chat *c, const struct chat_tok *t,
	    struct err *e);

/* ---- a rendering ------------------------------------------------- */

struct chat_binding {
	int sym;
	struct chat_value v;
};

struct chat_scope {
	struct chat_scope *parent;
	struct chat_binding *p;
	size_t n, cap;
};

enum chat_jump { CJ_NONE, CJ_BREAK, CJ_CONTINUE };

struct chat_run {
	const struct chat *c;
	struct chat_arena arena;
	struct err *e;
	bool failed;
	int line;			/* of the node at work */
	int depth;
	uint64_t steps;
	struct chat_scope *scope;
	struct chat_buf *out;
	enum chat_jump jump;
	struct chat_value captured;	/* input of a filter block */
};

struct chat_macro {
	const struct chat_node *node;	/* CN_MACRO or CN_CALLBLOCK */
	struct chat_scope *scope;	/* where it was defined */
};

/*
 * The `loop` of one for statement.  Elements pass the statement's own filter
 * only when somebody looks at them, as in the reference, where the filter
 * may depend on what the body did.
 */
struct chat_loop {
	const struct chat_node *node;
	struct chat_scope *outer;
	struct chat_seq *src;		/* CS_GEN over the iterable */
	struct chat_seq taken;		/* passed the filter */
	size_t index0;
	int depth0;
	bool changed_set;
	struct chat_value changed;
};

/* Record the first failure of a run ("NAME line N: ..."); yields undefined. */
struct chat_value chat_fail(struct chat_run *r, const char *fmt, ...)
	    __attribute__((format(printf, 2, 3)));
/* Account for n units of work; false when the run has failed or must. */
bool	chat_value_step(struct chat_run *r, size_t n);
/* Enter and leave one level of nesting. */
bool	chat_value_enter(struct chat_run *r);
void	chat_value_leave(struct chat_run *r);

/* Arguments of a call. */
#define CHAT_MAX_ARGS	32
struct chat_args {
	struct chat_value v[CHAT_MAX_ARGS];
	const struct chat_str *kw[CHAT_MAX_ARGS];	/* of v[n ..] */
	size_t n, n_kw;
};

#define CHAT_MAX_PARAMS	6
struct chat_in {
	struct chat_value self;			/* what is filtered; object */
	struct chat_value v[CHAT_MAX_PARAMS];	/* by parameter */
	const struct chat_args *raw;
};

/*
 * A filter, test, method or function.  params: names in order, separated by
 * blanks, the first `need` of them required; NULL takes any arguments, as raw.
 * fn NULL: known to the reference, refused here.
 */
struct chat_fn {
	const char *name;
	const char *params;
	int need;
	struct chat_value (*fn)(struct chat_run *r, const struct chat_in *in);
};

struct chat_value chat_func_call(struct chat_run *r, const struct chat_fn *fn,
	    struct chat_value self, const struct chat_args *a);
const struct chat_fn *chat_func_find(const char *p, size_t n);
/* A method of loop. */
const struct chat_fn *chat_func_loop(const char *p, size_t n);
const struct chat_fn *chat_filter_find(const char *p, size_t n);
extern const struct chat_fn chat_seq_filters[];
/* v as a string, or failed: what needs one. */
const struct chat_str *chat_method_str(struct chat_run *r,
	    const struct chat_value *v, const char *what);
/* str.splitlines(). */
struct chat_value chat_split_lines(struct chat_run *r,
	    const struct chat_str *s, bool keep_ends);
/* split, rsplit, splitlines, partition and rpartition as methods. */
struct chat_value chat_split_left(struct chat_run *r,
	    const struct chat_in *in);
struct chat_value chat_split_right(struct chat_run *r,
	    const struct chat_in *in);
struct chat_value chat_split_by_line(struct chat_run *r,
	    const struct chat_in *in);
struct chat_value chat_split_partition(struct chat_run *r,
	    const struct chat_in *in);
struct chat_value chat_split_rpartition(struct chat_run *r,
	    const struct chat_in *in);
/* Append (key, value) tuples. */
void	chat_method_pairs(struct chat_run *r, const struct chat_dict *d,
	    struct chat_seq *q);
const struct chat_fn *chat_is_find(const char *p, size_t n);
/* A method of v by name, or NULL; *known when there is one in Python. */
const struct chat_fn *chat_method_find(const struct chat_value *v,
	    const struct chat_str *name, bool *known);
const struct chat_fn *chat_func_lookup(const struct chat_fn *t,
	    const char *p, size_t n);

/* ---- values, continued ------------------------------------------- */

struct chat_value chat_value_none(void);
struct chat_value chat_value_bool(bool b, bool dirty);
struct chat_value chat_value_int(int64_t i, bool dirty);
struct chat_value chat_value_float(double f, bool dirty);
struct chat_value chat_value_undef(const struct chat_str *name);
/* Bytes that stay where they are. */
struct chat_value chat_value_bytes(struct chat_arena *a, const char *p,
	    size_t n, bool dirty);
struct chat_value chat_value_str(const struct chat_str *s);
/* A copy of s that ends with a NUL. */
const char *chat_value_cstr(struct chat_run *r, const struct chat_str *s);
struct chat_value chat_value_seq(struct chat_run *r, enum chat_seq_kind kind);
void	chat_value_push(struct chat_run *r, struct chat_seq *q,
	    struct chat_value v);
struct chat_value chat_value_dict(struct chat_run *r);
void	chat_value_set(struct chat_run *r, struct chat_dict *d,
	    struct chat_value k, struct chat_value v);
/* May v be a key; fails when not. */
bool	chat_value_hashable(struct chat_run *r, const struct chat_value *v);
const struct chat_value *chat_value_get(struct chat_run *r,
	    const struct chat_dict *d, const struct chat_value *k);
/* Python's name of v's type. */
const char *chat_value_type(const struct chat_value *v);
bool	chat_value_true(struct chat_value v);
/* len(); fails where Python does. */
size_t	chat_value_len(struct chat_run *r, struct chat_value v);
/* The elements of v as a CS_GEN that has not begun (v itself when it is a
 * generator); fails when v cannot be iterated. */
struct chat_seq *chat_value_iter(struct chat_run *r, struct chat_value v);
bool	chat_value_next(struct chat_seq *q, struct chat_value *out);
/* copy: of the strings of j too, so that j may go away before the run. */
struct chat_value chat_value_json(struct chat_run *r, json_t *j, bool dirty,
	    bool copy);

/* ---- strings ----------------------------------------------------- */

struct chat_buf *chat_buf_new(struct chat_run *r);
void	chat_buf_add(struct chat_run *r, struct chat_buf *b, const char *p,
	    size_t n, bool dirty);
void	chat_buf_adds(struct chat_run *r, struct chat_buf *b, const char *z,
	    bool dirty);
void	chat_buf_addu(struct chat_run *r, struct chat_buf *b, unsigned cp,
	    bool dirty);
void	chat_buf_part(struct chat_run *r, struct chat_buf *b,
	    const struct chat_str *s, size_t off, size_t n);
void	chat_buf_str(struct chat_run *r, struct chat_buf *b,
	    const struct chat_str *s);
struct chat_value chat_buf_done(struct chat_run *r, struct chat_buf *b);
/* The string v as text that needs no escaping any more. */
struct chat_value chat_buf_safe(struct chat_run *r, struct chat_value v);
struct chat_value chat_buf_slice(struct chat_run *r, const struct chat_str *s,
	    size_t off, size_t n);
struct chat_value chat_buf_concat(struct chat_run *r, const struct chat_str *a,
	    const struct chat_str *b);
/* Is byte i of s untrusted; any byte of it. */
bool	chat_buf_dirty_at(const struct chat_str *s, size_t i);
bool	chat_buf_dirty(const struct chat_str *s);
bool	chat_buf_eq(const struct chat_str *s, const char *z);
size_t	chat_buf_points(const struct chat_str *s);	/* code points */
/* Byte offset of code point i (<= points). */
size_t	chat_buf_offset(const struct chat_str *s, size_t i);
bool	chat_buf_space(unsigned cp);		/* Python's str.isspace */
/* Where the text starts and ends without the code points of chars (NULL:
 * whitespace) at its left and right. */
struct chat_value chat_buf_strip(struct chat_run *r, const struct chat_str *s,
	    const struct chat_str *chars, bool left, bool right);
/* First occurrence of w in s at or after off; SIZE_MAX when none. */
size_t	chat_buf_find(struct chat_run *r, const struct chat_str *s, size_t off,
	    const struct chat_str *w);
size_t	chat_buf_rfind(struct chat_run *r, const struct chat_str *s,
	    size_t end, const struct chat_str *w);
struct chat_value chat_buf_replace(struct chat_run *r,
	    const struct chat_str *s, const struct chat_str *from,
	    const struct chat_str *to, int64_t count);
enum chat_case { CC_UPPER, CC_LOWER, CC_CAPITALIZE, CC_TITLE, CC_WORDS };
struct chat_value chat_buf_case(struct chat_run *r, const struct chat_str *s,
	    enum chat_case how);
struct chat_value chat_buf_escape(struct chat_run *r,
	    const struct chat_str *s);

/* ---- text of values ---------------------------------------------- */

/* str(v); CV_STR comes back as it is. */
const struct chat_str *chat_repr_str(struct chat_run *r, struct chat_value v);
void	chat_repr_add(struct chat_run *r, struct chat_buf *b,
	    struct chat_value v);		/* repr(v) */
struct chat_json_style {
	const char *item_sep, *key_sep;
	const struct chat_str *indent;		/* NULL: one line */
	bool ascii, sort;
};
void	chat_repr_json(struct chat_run *r, struct chat_buf *b,
	    struct chat_value v, const struct chat_json_style *st);
/* printf-style and {}-style formatting. */
struct chat_value chat_format_percent(struct chat_run *r,
	    const struct chat_str *fmt, struct chat_value arg);
struct chat_value chat_format_braces(struct chat_run *r,
	    const struct chat_str *fmt, const struct chat_args *a);
/* The shortest decimal that reads back as f, as Python prints it. */
void	chat_repr_float(double f, char out[40]);

/* ---- operators --------------------------------------------------- */

struct chat_value chat_op_binary(struct chat_run *r, enum chat_op op,
	    struct chat_value a, struct chat_value b);
bool	chat_op_eq(struct chat_run *r, struct chat_value a,
	    struct chat_value b);
/* a < b, for sorting and comparing; fails as Python does. */
bool	chat_op_less(struct chat_run *r, struct chat_value a,
	    struct chat_value b);
bool	chat_op_compare(struct chat_run *r, enum chat_op op,
	    struct chat_value a, struct chat_value b);
bool	chat_op_in(struct chat_run *r, struct chat_value a,
	    struct chat_value b);
struct chat_value chat_op_attr(struct chat_run *r, struct chat_value v,
	    const struct chat_str *name);
struct chat_value chat_op_item(struct chat_run *r, struct chat_value v,
	    struct chat_value k);
/* lo, hi, step: CV_NONE or CV_MISSING where left out. */
struct chat_value chat_op_slice(struct chat_run *r, struct chat_value v,
	    const struct chat_value part[3]);
/* An int argument of name's; false (and failed) when it is not one. */
bool	chat_op_int(struct chat_run *r, struct chat_value v, const char *what,
	    int64_t *out);

/* ---- evaluation -------------------------------------------------- */

struct chat_value chat_eval(struct chat_run *r, const struct chat_node *n);
struct chat_value chat_eval_call(struct chat_run *r, struct chat_value callee,
	    const struct chat_args *a);
void	chat_eval_args(struct chat_run *r, const struct chat_node *list,
	    struct chat_args *a);
void	chat_eval_bind(struct chat_run *r, int sym, struct chat_value v);
struct chat_value *chat_eval_lookup(struct chat_run *r, int sym);
void	chat_eval_push(struct chat_run *r, struct chat_scope *parent);

void	chat_exec_body(struct chat_run *r, const struct chat_node *list);
struct chat_value chat_exec_macro(struct chat_run *r, struct chat_macro *m,
	    const struct chat_args *a);
/* loop(items) of a recursive loop. */
struct chat_value chat_exec_recurse(struct chat_run *r, struct chat_loop *l,
	    struct chat_value items);
/* An attribute of loop; false when there is none of that name. */
bool	chat_exec_loop_attr(struct chat_run *r, struct chat_loop *l,
	    const struct chat_str *name, struct chat_value *out);

#endif
