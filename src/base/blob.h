/* blob.h - bytes shared by reference count: an answer with many waiters, or on its way out.
 *
 * Immutable once made. Any thread may ref and unref. */
#pragma once

#include <stdatomic.h>
#include <stdlib.h>

#include "src/base/str.h"

typedef struct {
    atomic_uint refs;
    size_t      len;
    char        bytes[]; /* [len], NUL after it */
} sc_blob;

/* A copy of text with one reference, or NULL without memory. */
static inline sc_blob *sc_blob_make(sc_str text)
{
    sc_blob *blob = malloc(sizeof *blob + text.len + 1);
    if (blob == NULL)
        return NULL;
    atomic_init(&blob->refs, 1);
    blob->len = text.len;
    if (text.len != 0)
        memcpy(blob->bytes, text.ptr, text.len);
    blob->bytes[text.len] = '\0';
    return blob;
}

static inline sc_blob *sc_blob_ref(sc_blob *blob)
{
    atomic_fetch_add_explicit(&blob->refs, 1, memory_order_relaxed);
    return blob;
}

/* NULL is welcome. */
static inline void sc_blob_unref(sc_blob *blob)
{
    if (blob != NULL && atomic_fetch_sub_explicit(&blob->refs, 1, memory_order_acq_rel) == 1)
        free(blob);
}

static inline sc_str sc_blob_view(const sc_blob *blob)
{
    return blob == NULL ? (sc_str){NULL, 0} : (sc_str){blob->bytes, blob->len};
}
