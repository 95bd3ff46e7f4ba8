/* bench_model_tok - see bench_model_tok.h. */
#include "bench_model_tok.h"

#include "bench_model_shape.h"

#define FIRST	0x20		/* printable ASCII: 95 characters */
#define CHARS	95

/* Byte-level BPE writes a byte as a printable character: itself where it is
 * one, else the next of U+0100, U+0101, ... in byte order. */
static unsigned
stand_in(unsigned byte)
{
	unsigned b, n = 0;

	for (b = 0; b <= byte; b++) {
		if ((b >= 33 && b <= 126) || (b >= 161 && b <= 172) ||
		    b >= 174) {
			if (b == byte)
				return b;
		} else if (b == byte)
			return 0x100 + n;
		else
			n++;
	}
	return 0;
}

static void
add_byte(struct str *out, unsigned byte)
{
	unsigned c = stand_in(byte);

	if (c == '"' || c == '\\')
		str_addc(out, '\\');
	str_addu(out, c);
}

/* How many characters token number n (0: the first after the special ones)
 * has, and which, as offsets from FIRST.  Pairs come first, then a pair and
 * one more, and so on: every token is a token before it and one character. */
static int
spell(int n, int at[8])
{
	int base = 0, count = CHARS * CHARS, len = 2, i;

	while (n - base >= count) {
		base += count;
		count *= CHARS;
		len++;
	}
	n -= base;
	for (i = len - 1; i >= 0; i--) {
		at[i] = n % CHARS;
		n /= CHARS;
	}
	return len;
}

static void
add_chars(struct str *out, const int *at, int n)
{
	int i;

	for (i = 0; i < n; i++)
		add_byte(out, FIRST + (unsigned)at[i]);
}

static void
add_special(struct str *out, int id, const char *text, const char *end)
{
	str_addf(out, "  {\"id\": %d, \"content\": \"%s\", "
	    "\"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
	    "\"normalized\": false, \"special\": true}%s\n", id, text, end);
}

void
bench_model_tok_json(int vocab, struct str *out)
{
	int n = vocab - BENCH_MODEL_VOCAB_MIN, i, len, at[8];

	str_adds(out, "{\n \"version\": \"1.0\",\n \"truncation\": null,\n"
	    " \"padding\": null,\n \"added_tokens\": [\n");
	add_special(out, BENCH_MODEL_EOS, "<|endoftext|>", ",");
	add_special(out, BENCH_MODEL_IM_START, "<|im_start|>", ",");
	add_special(out, BENCH_MODEL_IM_END, "<|im_end|>", "");
	str_adds(out, " ],\n \"normalizer\": null,\n \"pre_tokenizer\": "
	    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
	    "\"trim_offsets\": true, \"use_regex\": true},\n"
	    " \"post_processor\": null,\n \"decoder\": {\"type\": "
	    "\"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": "
	    "true, \"use_regex\": true},\n \"model\": {\n"
	    "  \"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,\n"
	    "  \"continuing_subword_prefix\": null, "
	    "\"end_of_word_suffix\": null,\n  \"fuse_unk\": false, "
	    "\"byte_fallback\": false,\n  \"vocab\": {");
	for (i = 0; i < 256; i++) {
		str_adds(out, i ? ", \"" : "\"");
		add_byte(out, (unsigned)i);
		str_addf(out, "\": %d", i);
	}
	for (i = 0; i < n; i++) {
		len = spell(i, at);
		str_adds(out, ", \"");
		add_chars(out, at, len);
		str_addf(out, "\": %d", BENCH_MODEL_VOCAB_MIN + i);
	}
	str_adds(out, "},\n  \"merges\": [");
	for (i = 0; i < n; i++) {
		len = spell(i, at);
		str_adds(out, i ? ", \"" : "\"");
		add_chars(out, at, len - 1);
		str_addc(out, ' ');
		add_chars(out, at + len - 1, 1);
		str_addc(out, '"');
	}
	str_adds(out, "]\n }\n}\n");
}

void
bench_model_tok_config(struct str *out)
{
	str_adds(out, "{\n \"bos_token\": null,\n"
	    " \"eos_token\": \"<|endoftext|>\",\n"
	    " \"pad_token\": \"<|endoftext|>\",\n"
	    " \"add_bos_token\": false,\n \"chat_template\": \""
	    "{% for message in messages %}{{'<|im_start|>' + "
	    "message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
	    "'\\n'}}{% endfor %}{% if add_generation_prompt %}"
	    "{{ '<|im_start|>assistant\\n' }}{% endif %}\"\n}\n");
}
