/* lexicon.h - words that turn a question round, and which an embedding hardly sees: "not", and
 * pairs such as enable and disable.
 *
 * A word names values of a class: "enable" the first value of POWER, "disable" the second. Two
 * questions of which one names only values of a class that the other does not name, and the other
 * likewise, are about different things. English, and words of denial in five more languages. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"

enum { SC_LEXICON_VALUES_MAX = 12 };

/* One class: for each value its words, with spaces between them. */
typedef struct {
    const char *values[SC_LEXICON_VALUES_MAX]; /* NULL beyond the last */
} sc_lexicon_class;

/* What a word means; values 0: nothing to us. */
typedef struct {
    uint16_t cls;
    uint16_t values; /* bit i: names value i */
} sc_meaning;

extern const sc_lexicon_class sc_lexicon_classes[]; /* [sc_lexicon_classes_count] */
extern const size_t           sc_lexicon_classes_count;

enum {
    SC_LEXICON_DENIAL,
    SC_LEXICON_FILLERS, /* come and go between two wordings of one question */
    SC_LEXICON_PAIRS,   /* the first of those that name opposites */
    SC_LEXICON_CLASSES_MAX = 128
};

typedef struct sc_lexicon sc_lexicon;

/* Makes the index of all words. Errors: SC_NO_MEMORY. Any thread may use it then. */
SC_MUST_CHECK sc_status sc_lexicon_open(sc_lexicon **out);
void                    sc_lexicon_close(sc_lexicon *lexicon);

/* Is it a word of denial, just so? */
bool sc_lexicon_denies(const sc_lexicon *lexicon, sc_str word);

/* Meaning of a lower-case word, which may end in -s, -d or -ed. */
sc_meaning sc_lexicon_find(const sc_lexicon *lexicon, sc_str word);
