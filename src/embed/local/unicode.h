/* unicode.h - what BERT's uncased normaliser makes of a character, one code point at a time.
 *
 * Controls go, white space becomes ' ', accents go, letters become small, Han characters
 * stand apart. Not for anything else: src/prompt has its own idea of equal texts. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t chars[3];
    uint8_t  count; /* 0: the character is dropped */
    bool     apart; /* a word of its own */
} sc_unicode_folded;

sc_unicode_folded sc_unicode_fold(uint32_t point);

/* Whether the (folded) character is a word of its own in BERT's eyes. */
bool sc_unicode_is_punctuation(uint32_t point);
