#include "src/prompt/lexicon.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 2048, WORD_BYTES_MAX = 16 };

typedef struct {
    sc_str     word; /* in the classes' texts; ptr NULL: free */
    sc_meaning meaning;
} slot;

struct sc_lexicon {
    slot     slots[SLOTS];
    uint32_t denial_initials[WORD_BYTES_MAX + 1]; /* by length: bit of each word's first letter */
};

static uint32_t initial(sc_str word)
{
    return 1u << ((unsigned char)word.ptr[0] & 31);
}

static uint32_t slot_of(sc_str word)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < word.len; i++)
        hash = (hash ^ (unsigned char)word.ptr[i]) * 16777619u;
    return (hash ^ hash >> 15) % SLOTS;
}

/* Where the word is, or the free place where it belongs. */
static const slot *look(const sc_lexicon *lexicon, sc_str word)
{
    uint32_t at = slot_of(word);
    while (lexicon->slots[at].word.ptr != NULL && !sc_str_equal(lexicon->slots[at].word, word))
        at = (at + 1) % SLOTS;
    return &lexicon->slots[at];
}

static void add(sc_lexicon *lexicon, sc_str word, size_t cls, unsigned value)
{
    slot *s = (slot *)(uintptr_t)look(lexicon, word);
    assert(s->word.ptr == NULL || s->meaning.cls == cls); /* no word is in two classes */
    s->word = word;
    s->meaning.cls = (uint16_t)cls;
    s->meaning.values |= (uint16_t)(1u << value);
    if (cls == SC_LEXICON_DENIAL)
        lexicon->denial_initials[word.len] |= initial(word);
}

static void add_words(sc_lexicon *lexicon, const char *words, size_t cls, unsigned value)
{
    while (*words != '\0') {
        size_t len = strcspn(words, " ");
        add(lexicon, (sc_str){words, len}, cls, value);
        words += len + (words[len] == ' ');
    }
}

sc_status sc_lexicon_open(sc_lexicon **out)
{
    sc_lexicon *lexicon = calloc(1, sizeof *lexicon);
    *out = lexicon;
    if (lexicon == NULL)
        return SC_NO_MEMORY;
    for (size_t cls = 0; cls < sc_lexicon_classes_count; cls++)
        for (unsigned v = 0; v < SC_LEXICON_VALUES_MAX; v++)
            if (sc_lexicon_classes[cls].values[v] != NULL)
                add_words(lexicon, sc_lexicon_classes[cls].values[v], cls, v);
    return SC_OK;
}

void sc_lexicon_close(sc_lexicon *lexicon)
{
    free(lexicon);
}

/* Asked for each word of each question: length and first letter spare four of five the table, whose
 * 48 KB are seldom in the first-level cache. */
bool sc_lexicon_denies(const sc_lexicon *lexicon, sc_str word)
{
    if (word.len == 0 || word.len > WORD_BYTES_MAX ||
        (lexicon->denial_initials[word.len] & initial(word)) == 0)
        return false;
    const slot *s = look(lexicon, word);
    return s->word.ptr != NULL && s->meaning.cls == SC_LEXICON_DENIAL;
}

static bool ends_in(sc_str word, sc_str ending)
{
    return word.len > ending.len + 2 &&
           memcmp(word.ptr + word.len - ending.len, ending.ptr, ending.len) == 0;
}

sc_meaning sc_lexicon_find(const sc_lexicon *lexicon, sc_str word)
{
    const sc_str endings[] = {SC_STR(""), SC_STR("s"), SC_STR("d"), SC_STR("ed")};
    if (word.len > WORD_BYTES_MAX)
        return (sc_meaning){0};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (i != 0 && !ends_in(word, endings[i]))
            continue;
        const slot *s = look(lexicon, (sc_str){word.ptr, word.len - endings[i].len});
        if (s->word.ptr != NULL)
            return s->meaning;
    }
    return (sc_meaning){0};
}
