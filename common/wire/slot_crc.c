/*
 * slot_crc.c - F1.  CRC-32C: polynomial 0x1edc6f41, reflected 0x82f63b78, as in
 * iSCSI (RFC 3720 appendix B.4).  The processor's instruction where it has
 * one (chosen at start-up), else eight tables of 256.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "buf.h"
#include "slot.h"

static uint32_t table[8][256];

static uint32_t
crc_table(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t v;

	for (; n >= 8; n -= 8, p += 8) {
		v = buf_le64(p) ^ crc;
		crc = table[7][v & 255] ^ table[6][v >> 8 & 255] ^
		    table[5][v >> 16 & 255] ^ table[4][v >> 24 & 255] ^
		    table[3][v >> 32 & 255] ^ table[2][v >> 40 & 255] ^
		    table[1][v >> 48 & 255] ^ table[0][v >> 56];
	}
	while (n-- > 0)
		crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
	return crc;
}

static uint32_t (*crc_best)(uint32_t, const uint8_t *, size_t) = crc_table;

#if defined(__x86_64__)
/*
 * The instruction gives a result after three cycles but starts every cycle, so
 * three stretches of LANE bytes go side by side.  The crc of a stretch that n
 * bytes follow is moved over these by a linear map, which is looked up byte by
 * byte: over_lane.
 */
#define LANE	1024u

static uint32_t over_lane[4][256];

static uint32_t
move_over(uint32_t crc)
{
	return over_lane[0][crc & 255] ^ over_lane[1][crc >> 8 & 255] ^
	    over_lane[2][crc >> 16 & 255] ^ over_lane[3][crc >> 24];
}

static void
over_lane_init(void)
{
	uint32_t bit[32], c;
	int i, k;

	for (i = 0; i < 32; i++) {	/* where LANE zero bytes take bit i */
		c = (uint32_t)1 << i;
		for (k = 0; k < (int)LANE; k++)
			c = c >> 8 ^ table[0][c & 255];
		bit[i] = c;
	}
	for (i = 0; i < 4 * 256; i++)
		for (k = 0; k < 8; k++)
			if ((i >> k & 1) != 0)
				over_lane[i / 256][i % 256] ^=
				    bit[i / 256 * 8 + k];
}

__attribute__((target("sse4.2"))) static uint32_t
crc_sse42(uint32_t crc, const uint8_t *p, size_t n)
{
	uint64_t c = crc, c1, c2, v[3];
	size_t i;

	for (; n >= 3 * LANE; n -= 3 * LANE, p += 3 * LANE) {
		c1 = c2 = 0;
		for (i = 0; i < LANE; i += 8) {
			memcpy(&v[0], p + i, 8);
			memcpy(&v[1], p + LANE + i, 8);
			memcpy(&v[2], p + 2 * LANE + i, 8);
			c = __builtin_ia32_crc32di(c, v[0]);
			c1 = __builtin_ia32_crc32di(c1, v[1]);
			c2 = __builtin_ia32_crc32di(c2, v[2]);
		}
		c = move_over(move_over((uint32_t)c) ^ (uint32_t)c1) ^ c2;
	}
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v[0], p, 8);
		c = __builtin_ia32_crc32di(c, v[0]);
	}
	crc = (uint32_t)c;
	if (n >= 4) {
		crc = __builtin_ia32_crc32si(crc, buf_le32(p));
		n -= 4;
		p += 4;
	}
	while (n-- > 0)
		crc = __builtin_ia32_crc32qi(crc, *p++);
	return crc;
}
#endif

__attribute__((constructor)) static void
crc_init(void)
{
	uint32_t c;
	int i, k;

	for (i = 0; i < 256; i++) {
		c = (uint32_t)i;
		for (k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
		table[0][i] = c;
	}
	for (k = 1; k < 8; k++)
		for (i = 0; i < 256; i++)
			table[k][i] = table[k - 1][i] >> 8 ^
			    table[0][table[k - 1][i] & 255];
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2")) {
		over_lane_init();
		crc_best = crc_sse42;
	}
#endif
}

uint32_t
slot_crc32c(uint32_t crc, const void *p, size_t n)
{
	return ~crc_best(~crc, p, n);
}

uint32_t
slot_crc32c_portable(uint32_t crc, const void *p, size_t n)
{
	return ~crc_table(~crc, p, n);
}
