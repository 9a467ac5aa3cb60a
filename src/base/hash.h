/* hash.h - SHA-256, the only hash whose value leaves the process, and hex. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "src/base/str.h"

enum { SC_DIGEST_BYTES = 32, SC_DIGEST_HEX_BYTES = 2 * SC_DIGEST_BYTES };

typedef struct {
    uint8_t bytes[SC_DIGEST_BYTES];
} sc_digest;

sc_digest sc_sha256(const void *bytes, size_t len);

/* Incremental hashing of length-prefixed fields: no content can imitate a field border.
 * A plain value without heap; copying it forks the hash. */
typedef struct {
    uint64_t _state[14];
} sc_hasher;

void      sc_hasher_init(sc_hasher *hasher);
void      sc_hasher_bytes(sc_hasher *hasher, const void *bytes, size_t len); /* raw, no prefix */
void      sc_hasher_field(sc_hasher *hasher, sc_str field); /* 8 bytes LE length, then bytes */
void      sc_hasher_u64(sc_hasher *hasher, uint64_t value); /* 8 bytes LE */
sc_digest sc_hasher_final(sc_hasher *hasher);

/* Lower-case hex of bytes[len] into out[2 * len + 1], NUL-terminated. */
void sc_hex_encode(const void *bytes, size_t len, char *out);

/* Reads exactly 2 * len hex digits of either case. False, and out undefined, when they are not. */
bool sc_hex_decode(sc_str hex, void *out, size_t len);

static inline bool sc_digest_equal(const sc_digest *a, const sc_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

static inline uint64_t sc_digest_u64(const sc_digest *digest)
{
    uint64_t value;
    memcpy(&value, digest->bytes, sizeof value);
    return value;
}
