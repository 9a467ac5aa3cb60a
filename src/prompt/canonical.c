/* Three passes over the text: fold, take the volatile values out, tidy what is left. The last
 * two repeat until nothing is found, because taking a value out can complete another ("123 <a
 * UUID> 456 789"); so the canonical text of a canonical text is itself. */
#include "src/prompt/canonical.h"

#include <stdlib.h>
#include <string.h>

#include "src/base/hash.h"
#include "src/prompt/figures.h"
#include "src/prompt/fold.h"
#include "src/prompt/opposite.h"
#include "src/prompt/volatile.h"

/* Only a pattern of a setting's can need more; the text is then what the last round left. */
enum { ROUNDS_MAX = 8 };

struct sc_canon {
    sc_matcher *matcher;
    sc_lexicon *lexicon;
    bool        match[SC_VOLATILE_CLASSES], match_figures, match_denial, match_direction;
};

sc_status sc_canon_open(const sc_canon_options *options, sc_canon **out, sc_error *error)
{
    sc_canon *canon = calloc(1, sizeof *canon);
    *out = NULL;
    if (canon == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the canonicaliser");
    memcpy(canon->match, options->match, sizeof canon->match);
    canon->match_figures = options->match_figures;
    canon->match_denial = options->match_denial;
    canon->match_direction = options->match_direction;
    sc_status status = sc_matcher_open(options->patterns, &canon->matcher, error);
    if (status == SC_OK && sc_lexicon_open(&canon->lexicon) != SC_OK)
        status = sc_fail(error, SC_NO_MEMORY, "no memory for the canonicaliser");
    if (status == SC_OK) {
        *out = canon;
        canon = NULL;
    }
    sc_canon_close(canon);
    return status;
}

void sc_canon_close(sc_canon *canon)
{
    if (canon == NULL)
        return;
    sc_lexicon_close(canon->lexicon);
    sc_matcher_close(canon->matcher);
    free(canon);
}

/* Spaces folded and the end's punctuation off; a text of punctuation alone keeps it, or "?" and
 * "!" would be one question. NUL-terminated. */
static sc_str tidy(char *text, size_t len)
{
    sc_str whole = sc_fold_spaces(text, len);
    sc_str cut = sc_fold_end(whole);
    if (cut.len == 0)
        return whole;
    text[cut.len] = '\0';
    return cut;
}

/* Takes values out of text until there are none. Gives what is left, perhaps nothing. */
static sc_status take_values(const sc_canon *canon, sc_str text, sc_arena *arena,
                             sc_volatile_list *list, sc_str *left, sc_error *error)
{
    *left = text;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        bool      found;
        sc_status status = sc_matcher_look(canon->matcher, *left, &found, error);
        if (status != SC_OK || !found)
            return status;
        sc_str work = sc_arena_copy(arena, *left);
        if (work.ptr == NULL)
            return SC_NO_MEMORY;
        char *bytes = (char *)(uintptr_t)work.ptr; /* our own copy */
        status = sc_matcher_take(canon->matcher, *left, bytes, arena, list, error);
        if (status != SC_OK)
            return status;
        *left = tidy(bytes, work.len);
    }
    return SC_OK;
}

static bool has_word(sc_str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c >= 0x80)
            return true;
    }
    return false;
}

/* Kinds of what goes into the guard beside the classes of values. */
enum { GUARD_FIGURES = SC_VOLATILE_CLASSES, GUARD_DENIAL };

static bool hash_values(const sc_canon *canon, const sc_volatile_list *list, sc_hasher *hasher)
{
    bool any = false;
    for (size_t i = 0; i < list->used; i++) {
        if (!canon->match[list->at[i].cls])
            continue;
        any = true;
        sc_hasher_u64(hasher, (uint64_t)list->at[i].cls);
        sc_hasher_field(hasher, list->at[i].text);
    }
    return any;
}

static bool hash_words(const sc_canon *canon, sc_str text, sc_str figures, sc_hasher *hasher)
{
    bool denies = canon->match_denial && sc_denies(canon->lexicon, text);
    if (figures.len != 0) {
        sc_hasher_u64(hasher, GUARD_FIGURES);
        sc_hasher_field(hasher, figures);
    }
    if (denies)
        sc_hasher_u64(hasher, GUARD_DENIAL);
    return denies || figures.len != 0;
}

static uint64_t not_zero(sc_digest digest)
{
    uint64_t value = sc_digest_u64(&digest);
    return value == 0 ? 1 : value;
}

static sc_status guard_of(const sc_canon *canon, const sc_volatile_list *list, sc_str text,
                          sc_arena *arena, uint64_t *guard)
{
    sc_hasher hasher;
    sc_str    figures = canon->match_figures ? sc_figures(text, arena) : SC_STR("");
    if (figures.ptr == NULL)
        return SC_NO_MEMORY;
    sc_hasher_init(&hasher);
    bool any = hash_values(canon, list, &hasher);
    any |= hash_words(canon, text, figures, &hasher);
    *guard = any ? not_zero(sc_hasher_final(&hasher)) : 0;
    return SC_OK;
}

bool sc_canon_opposed(const sc_canon *canon, sc_str a, sc_str b)
{
    return canon->match_direction && sc_opposed(canon->lexicon, a, b);
}

static sc_status apply(const sc_canon *canon, sc_str prompt, sc_arena *arena, sc_canonical *out,
                       sc_error *error)
{
    sc_str           text, left;
    sc_volatile_list list = {NULL, 0, 0};
    sc_status        status = sc_fold(prompt, arena, &text);
    if (status != SC_OK)
        return status;
    text = tidy((char *)(uintptr_t)text.ptr, text.len); /* ours, from the arena */
    status = take_values(canon, text, arena, &list, &left, error);
    if (status != SC_OK)
        return status;
    /* A prompt that is nothing but values keeps them: "" or "," would be everybody's text. */
    out->text = has_word(left) ? left : text;
    out->values = list.at;
    out->values_count = list.used;
    return guard_of(canon, &list, out->text, arena, &out->guard);
}

sc_status sc_canon_apply(const sc_canon *canon, sc_str prompt, sc_arena *arena, sc_canonical *out,
                         sc_error *error)
{
    *out = (sc_canonical){.text = SC_STR("")};
    sc_status status = apply(canon, prompt, arena, out, error);
    if (status == SC_NO_MEMORY)
        return sc_fail(error, status, "no memory to canonicalise a prompt of %zu bytes",
                       prompt.len);
    return status;
}
