/* fold.h - texts that look the same to a reader become the same bytes.
 *
 * Case, composition of accents, white space, and characters that cannot be seen. Never
 * compatibility forms: "x²" and "x2", "①" and "1" may be different questions. */
#pragma once

#include "src/base/arena.h"
#include "src/base/status.h"
#include "src/base/str.h"

/* Unicode case fold and NFC of text (valid UTF-8); each Unicode white space is one ' ', control and
 * invisible format characters are gone. Gives *out, in the arena, NUL-terminated.
 * Errors: SC_NO_MEMORY. Costs O(n), whatever the text. */
SC_MUST_CHECK sc_status sc_fold(sc_str text, sc_arena *arena, sc_str *out);

/* Runs of ' ' become one, at both ends none; in place, and NUL-terminated if it got shorter. */
sc_str sc_fold_spaces(char *text, size_t len);

/* The text without the sentence punctuation (and spaces) at its end. A view of it. */
sc_str sc_fold_end(sc_str text);
