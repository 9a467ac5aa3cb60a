#include "src/prompt/opposite.h"

#include <stdlib.h>
#include <string.h>

#include "src/prompt/words.h"

enum { WORDS_MAX = 128 };

typedef struct {
    sc_str   words[WORDS_MAX]; /* in order, without fillers and the -s of plurals */
    size_t   count;
    uint16_t values[SC_LEXICON_CLASSES_MAX]; /* of each class, those that the text names */
    size_t   objects[SC_LEXICON_VALUES_MAX]; /* of each kind of preposition, 1 + the word's place */
} reading;

static bool is(sc_str word, const char *text)
{
    return sc_str_equal(word, sc_str_of(text));
}

/* ---- denial ---- */

bool sc_denies(const sc_lexicon *lexicon, sc_str text)
{
    sc_word word;
    sc_str  before = SC_STR(" ");
    for (sc_str rest = text; sc_word_next(&rest, &word); before = word.text) {
        if (sc_lexicon_denies(lexicon, word.text))
            return true;
        if (is(word.text, "t") && before.ptr[before.len - 1] == 'n') /* "isn't", with any apostrophe */
            return true;
    }
    return false;
}

/* ---- opposites ---- */

/* "on" is mostly a preposition: it counts behind "turn", or as the last word. */
static bool switches_on(sc_str before, sc_str rest)
{
    sc_word after;
    return is(before, "turn") || is(before, "switch") || !sc_word_next(&rest, &after);
}

static sc_meaning meaning_of(const sc_lexicon *lexicon, sc_str before, sc_str word, sc_str rest)
{
    if (is(word, "on") && switches_on(before, rest))
        word = SC_STR("enable");
    return sc_lexicon_find(lexicon, word);
}

/* Without the plural's or third person's -s. */
static sc_str singular(sc_str word)
{
    if (word.len > 3 && word.ptr[word.len - 1] == 's')
        word.len--;
    return word;
}

static void note(reading *r, sc_meaning meaning, sc_str word)
{
    r->values[meaning.cls] |= meaning.values;
    if (meaning.values == 0 || meaning.cls != SC_LEXICON_FILLERS) {
        r->words[r->count++] = singular(word);
        return;
    }
    for (size_t value = 1; value < SC_LEXICON_VALUES_MAX; value++)
        if (meaning.values == 1u << value)
            r->objects[value] = r->count + 1;
}

static void read_text(reading *r, const sc_lexicon *lexicon, sc_str text)
{
    sc_word word;
    sc_str  before = SC_STR("");
    r->count = 0;
    memset(r->values, 0, sizeof r->values);
    memset(r->objects, 0, sizeof r->objects);
    for (sc_str rest = text; r->count < WORDS_MAX && sc_word_next(&rest, &word); before = word.text)
        note(r, meaning_of(lexicon, before, word.text, rest), word.text);
}

static bool name_opposites(const reading *a, const reading *b)
{
    for (size_t cls = SC_LEXICON_PAIRS; cls < sc_lexicon_classes_count; cls++)
        if (a->values[cls] != 0 && b->values[cls] != 0 && (a->values[cls] & b->values[cls]) == 0)
            return true;
    return false;
}

/* ---- negating prefixes ---- */

static bool has(const reading *r, sc_str word)
{
    for (size_t i = 0; i < r->count; i++)
        if (sc_str_equal(r->words[i], word))
            return true;
    return false;
}

/* Has one the word, the other the negated one, and neither both? */
static bool negates(const reading *a, const reading *b, sc_str word, const char *prefix)
{
    enum { STEM_BYTES_MIN = 3 };
    size_t cut = strlen(prefix);
    if (word.len < cut + STEM_BYTES_MIN || memcmp(word.ptr, prefix, cut) != 0)
        return false;
    sc_str stem = {word.ptr + cut, word.len - cut};
    return has(b, stem) && !has(b, word) && !has(a, stem);
}

static bool negates_any(const reading *a, const reading *b)
{
    static const char *const prefixes[] = {"un", "dis", "de", "in", "im", "il", "ir", "non", "mis"};
    for (size_t i = 0; i < a->count; i++)
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++)
            if (negates(a, b, a->words[i], prefixes[p]))
                return true;
    return false;
}

/* ---- order ---- */

static int compare_words(const void *left, const void *right)
{
    const sc_str *a = left, *b = right;
    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return memcmp(a->ptr, b->ptr, a->len);
}

static bool same_words(const reading *a, const reading *b)
{
    sc_str in_a[WORDS_MAX], in_b[WORDS_MAX];
    if (a->count != b->count)
        return false;
    memcpy(in_a, a->words, a->count * sizeof *in_a);
    memcpy(in_b, b->words, b->count * sizeof *in_b);
    qsort(in_a, a->count, sizeof *in_a, compare_words);
    qsort(in_b, b->count, sizeof *in_b, compare_words);
    for (size_t i = 0; i < a->count; i++)
        if (!sc_str_equal(in_a[i], in_b[i]))
            return false;
    return true;
}

/* "alice owes bob", "bob owes alice": two words have changed places round others. Neighbours may:
 * "the cheapest plan", "the plan is cheapest". */
static bool two_changed_places(const reading *a, const reading *b)
{
    size_t differing = 0, first = 0, last = 0;
    for (size_t i = 0; i < a->count; i++) {
        if (sc_str_equal(a->words[i], b->words[i]))
            continue;
        if (differing++ == 0)
            first = i;
        last = i;
    }
    return differing == 2 && last > first + 1;
}

/* "from paris to london", "from london to paris" */
static bool objects_differ(const reading *a, const reading *b)
{
    for (size_t value = 1; value < SC_LEXICON_VALUES_MAX; value++) {
        size_t at_a = a->objects[value], at_b = b->objects[value];
        if (at_a != 0 && at_b != 0 && at_a <= a->count && at_b <= b->count &&
            !sc_str_equal(a->words[at_a - 1], b->words[at_b - 1]))
            return true;
    }
    return false;
}

static bool reordered(const reading *a, const reading *b)
{
    return same_words(a, b) && (two_changed_places(a, b) || objects_differ(a, b));
}

bool sc_opposed(const sc_lexicon *lexicon, sc_str a, sc_str b)
{
    reading in_a, in_b;
    read_text(&in_a, lexicon, a);
    read_text(&in_b, lexicon, b);
    return name_opposites(&in_a, &in_b) || negates_any(&in_a, &in_b) ||
           negates_any(&in_b, &in_a) || reordered(&in_a, &in_b);
}
