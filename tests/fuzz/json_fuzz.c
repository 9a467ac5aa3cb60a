/* What an upstream answers: JSON within its bounds, and strings that come back as they went out. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "src/text/json.h"
#include "src/text/utf8.h"

enum { BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse(sc_str text)
{
    json_t   *root;
    sc_error  error = {0};
    sc_status status = sc_json_parse(text, BYTES_MAX, &root, &error);
    assert((status == SC_OK) == (root != NULL));
    assert((status == SC_OK) == (error.text[0] == '\0'));
    if (root == NULL)
        return;
    /* What was accepted is still JSON when written, and the same. */
    char *written = json_dumps(root, JSON_ENCODE_ANY | JSON_COMPACT);
    if (written != NULL) {
        json_t *again;
        if (sc_json_parse(sc_str_of(written), BYTES_MAX * 8, &again, NULL) == SC_OK) {
            assert(json_equal(root, again));
            json_decref(again);
        }
        free(written);
    }
    json_decref(root);
}

static void round_trip(sc_str text)
{
    sc_buf  out;
    json_t *root;
    if (!sc_utf8_valid(text, NULL) || memchr(text.ptr, '\0', text.len) != NULL)
        return;
    sc_buf_init(&out, BYTES_MAX * 8);
    sc_json_put_string(&out, text);
    assert(sc_json_parse(sc_buf_view(&out), BYTES_MAX * 8, &root, NULL) == SC_OK);
    assert(json_string_length(root) == text.len);
    assert(memcmp(json_string_value(root), text.ptr, text.len) == 0);
    json_decref(root);
    sc_buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_str text = {size == 0 ? "" : (const char *)data, size};
    if (size > BYTES_MAX)
        return 0;
    parse(text);
    round_trip(text);
    return 0;
}
