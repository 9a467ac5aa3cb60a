#include "src/entry/entry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The texts of an entry, in the order in which they lie behind it. */
enum { TEXTS_COUNT = 8 };

static void list_texts(sc_entry_fields *fields, sc_str *texts[TEXTS_COUNT])
{
    texts[0] = &fields->tenant;
    texts[1] = &fields->model;
    texts[2] = &fields->corpus_version;
    texts[3] = &fields->prompt;
    texts[4] = &fields->canonical;
    texts[5] = &fields->answer;
    texts[6] = &fields->finish_reason;
    texts[7] = &fields->answered_by;
}

/* Each text has a NUL behind it, so that it can be printed and handed to C libraries. */
static size_t text_bytes(const sc_entry_fields *fields)
{
    sc_entry_fields copy = *fields;
    sc_str         *texts[TEXTS_COUNT];
    size_t          bytes = 0;
    list_texts(&copy, texts);
    for (size_t i = 0; i < TEXTS_COUNT; i++)
        bytes += texts[i]->len + 1;
    for (uint32_t i = 0; i < fields->tags_count; i++)
        bytes += fields->tags[i].len + 1;
    return bytes;
}

/* Copies text to *at, which moves behind the copy. */
static sc_str place(char **at, sc_str text)
{
    char *copy = *at;
    if (text.len != 0)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *at = copy + text.len + 1;
    return (sc_str){copy, text.len};
}

sc_entry *sc_entry_make(const sc_entry_fields *fields)
{
    assert(fields->tags_count <= SC_ENTRY_TAGS_MAX);
    size_t    tags_bytes = fields->tags_count * sizeof(sc_str);
    size_t    held_bytes = sizeof(sc_entry) + tags_bytes + text_bytes(fields);
    sc_entry *entry = malloc(held_bytes);
    if (entry == NULL)
        return NULL;
    entry->f = *fields;
    entry->held_bytes = held_bytes;
    atomic_init(&entry->refs, 1);
    atomic_init(&entry->last_hit_ms, 0);
    atomic_init(&entry->verified_ns, 0);

    sc_str *tags = (sc_str *)(void *)(entry + 1);
    char   *at = (char *)(tags + fields->tags_count);
    sc_str *texts[TEXTS_COUNT];
    list_texts(&entry->f, texts);
    for (size_t i = 0; i < TEXTS_COUNT; i++)
        *texts[i] = place(&at, *texts[i]);
    for (uint32_t i = 0; i < fields->tags_count; i++)
        tags[i] = place(&at, fields->tags[i]);
    entry->f.tags = tags;
    assert(at == (char *)entry + held_bytes);
    return entry;
}

sc_entry *sc_entry_ref(sc_entry *entry)
{
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

void sc_entry_unref(sc_entry *entry)
{
    if (entry != NULL && atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) == 1)
        free(entry);
}

void sc_candidates_unref(sc_candidate *candidates, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sc_entry_unref(candidates[i].entry);
        candidates[i].entry = NULL;
    }
}
