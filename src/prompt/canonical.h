/* canonical.h - the text under which a question is known.
 *
 * Trimmed, Unicode case-folded (NFC), invisible characters and volatile values taken out,
 * white space folded, trailing punctuation off; idempotent. What only looks alike stays
 * different: compatibility forms, and letters of other alphabets. The rules are written as
 * vectors in tests/data/canonical.json, against which any client can check itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef enum {
    SC_VOLATILE_TIME,
    SC_VOLATILE_UUID,
    SC_VOLATILE_NUMBER,
    SC_VOLATILE_CLASSES
} sc_volatile_class;

typedef struct {
    sc_volatile_class cls;
    sc_str            text; /* as written, case-folded */
} sc_volatile;

typedef struct {
    sc_str       text;   /* NUL-terminated; empty only when nothing in the prompt can be seen */
    sc_volatile *values; /* [values_count], in order of appearance, in the arena */
    size_t       values_count;
    uint64_t     guard; /* fingerprint of all that must be the same in two questions; 0: nothing */
} sc_canonical;

typedef struct {
    /* PCRE2 patterns, one a class, for folded text; NULL: the built-in one, "" or "off": none. */
    const char *patterns[SC_VOLATILE_CLASSES];
    /* Must the values of the class be the same for a hit? */
    bool match[SC_VOLATILE_CLASSES];
    bool match_figures;   /* must all other numbers? */
    bool match_denial;    /* must both deny something, or neither? */
    bool match_direction; /* are opposites, and the same words in another order, kept apart? */
} sc_canon_options;

typedef struct sc_canon sc_canon;

/* Compiles the patterns. Errors: SC_INVALID with the pattern's class, offset and problem. */
SC_MUST_CHECK sc_status sc_canon_open(const sc_canon_options *options, sc_canon **out,
                                      sc_error *error);
void                    sc_canon_close(sc_canon *canon);

/* Canonicalises prompt (valid UTF-8 without NUL; the caller has checked). Any thread.
 * Takes about twice the prompt's bytes from the arena, 16 times when it is all values. A prompt
 * that is nothing but values gives them, and keeps them in its text.
 * Errors: SC_TOO_LARGE when a pattern passes its match limit, SC_NO_MEMORY for a full arena. */
SC_MUST_CHECK sc_status sc_canon_apply(const sc_canon *canon, sc_str prompt, sc_arena *arena,
                                       sc_canonical *out, sc_error *error);

/* Do the words of two canonical texts say that they are different questions, however near? See
 * opposite.h. Any thread; some microseconds, no memory. */
bool sc_canon_opposed(const sc_canon *canon, sc_str a, sc_str b);
