/* unicode_table.h - the generated tables behind unicode.c; nobody else reads them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { SC_UNICODE_DELETED, SC_UNICODE_SPACE, SC_UNICODE_APART };

typedef struct {
    uint32_t first, last;
    uint32_t kind;
} sc_unicode_range;

/* to: a code point, or with SC_UNICODE_SEVERAL an index of three in the pool. */
typedef struct {
    uint32_t from, to;
} sc_unicode_pair;

#define SC_UNICODE_TO_APART (UINT32_C(1) << 31)
#define SC_UNICODE_TO_SEVERAL (UINT32_C(1) << 30)

/* All sorted by code point. */
extern const sc_unicode_range sc_unicode_ranges[];
extern const size_t           sc_unicode_ranges_count;
extern const sc_unicode_range sc_unicode_punctuation[];
extern const size_t           sc_unicode_punctuation_count;
extern const sc_unicode_pair  sc_unicode_pairs[];
extern const size_t           sc_unicode_pairs_count;
extern const uint32_t         sc_unicode_pool[]; /* three each, zero-padded */

/* SHA-256, in hex, of the reference's answers for all code points. */
extern const char sc_unicode_digest[];
