/* The events of a stream must not depend on where the network cut it: whole, byte by byte, and at
 * a place the input chooses, they are compared. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/base/hash.h"
#include "src/llm/sse.h"

enum { EVENT_BYTES_MAX = 256 };

typedef struct {
    sc_hasher hasher;
    sc_status status;
} heard;

static sc_status on_event(void *user, sc_str name, sc_str data)
{
    heard *h = user;
    sc_hasher_field(&h->hasher, name);
    sc_hasher_field(&h->hasher, data);
    return data.len > 200 ? SC_CORRUPT : SC_OK;
}

static sc_digest hear(sc_str bytes, size_t step, sc_status *status)
{
    sc_sse sse;
    heard  h;
    sc_hasher_init(&h.hasher);
    sc_sse_init(&sse, EVENT_BYTES_MAX);
    *status = SC_OK;
    for (size_t at = 0; *status == SC_OK && at < bytes.len; at += step) {
        /* Exact, so that a read beyond the piece is seen. */
        size_t len = bytes.len - at < step ? bytes.len - at : step;
        char  *piece = malloc(len);
        if (piece == NULL)
            abort();
        memcpy(piece, bytes.ptr + at, len);
        *status = sc_sse_feed(&sse, (sc_str){piece, len}, on_event, &h);
        free(piece);
    }
    sc_sse_fini(&sse);
    return sc_hasher_final(&h.hasher);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_str    bytes = {(const char *)data, size};
    sc_status whole, single, cut;
    size_t    step = size == 0 ? 1 : 1 + data[size - 1] % 16;
    sc_digest a = hear(bytes, size == 0 ? 1 : size, &whole);
    sc_digest b = hear(bytes, 1, &single);
    sc_digest c = hear(bytes, step, &cut);
    if (whole != single || whole != cut || !sc_digest_equal(&a, &b) || !sc_digest_equal(&a, &c))
        abort();
    return 0;
}
