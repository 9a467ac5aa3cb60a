/* The check in front of everything, against a second opinion; and base64 against its inverse. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include <utf8proc.h>

#include "src/text/base64.h"
#include "src/text/utf8.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(sc_str text)
{
    size_t bad = SIZE_MAX, at = 0;
    bool   valid = sc_utf8_valid(text, &bad);
    while (at < text.len) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.ptr + at,
                                              (utf8proc_ssize_t)(text.len - at), &c);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    assert(valid == (at == text.len));
    assert(valid || bad == at);
    for (size_t max = 0; valid && max <= text.len && max < 64; max++) {
        size_t len = sc_utf8_prefix(text, max);
        assert(len <= max && max - len < 4);
        assert(sc_utf8_valid((sc_str){text.ptr, len}, NULL));
    }
}

static void decode(sc_str text)
{
    size_t   len = sc_base64_decoded_len(text);
    uint8_t *exact = malloc(len == 0 ? 1 : len); /* so that a byte too many is seen */
    if (exact == NULL)
        return;
    (void)sc_base64_decode(text, exact, len);
    assert(!sc_base64_decode(text, exact, len == 0 ? 1 : len - 1));
    free(exact);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_str text = {(const char *)data, size};
    check(text);
    decode(text);
    return 0;
}
