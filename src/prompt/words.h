/* words.h - the words and figures of a canonical text, one after the other.
 *
 * "5mg isn't x-7" is "5", "mg", "isn", "t", "x", "7". Only borders are looked for: no language is
 * known here, and letters of other alphabets make words as ours do. */
#pragma once

#include <stdbool.h>

#include "src/base/str.h"

typedef struct {
    sc_str text;   /* a view of the text */
    bool   figure; /* digits of any alphabet, raised ones and fractions, and nothing else */
} sc_word;

/* The first word of *rest (valid UTF-8), which then begins behind it. False: there is none. */
bool sc_word_next(sc_str *rest, sc_word *word);
