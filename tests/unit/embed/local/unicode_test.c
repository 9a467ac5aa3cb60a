#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "src/base/hash.h"
#include "src/embed/local/unicode.h"
#include "src/embed/local/unicode_table.h"

static size_t write_char(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t len = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3F));
    out[0] = (char)((0xF00 >> len & 0xF0) | point);
    return len;
}

/* The reference's text for one character: Han characters stand between blanks. */
static size_t write_folded(sc_unicode_folded folded, char *out)
{
    size_t len = 0;
    if (folded.apart)
        out[len++] = ' ';
    for (uint8_t i = 0; i < folded.count; i++)
        len += write_char(folded.chars[i], out + len);
    if (folded.apart)
        out[len++] = ' ';
    return len;
}

/* A text in some script would be cut into other pieces than the model was trained on. */
static void every_code_point_is_treated_as_by_the_reference(void **state)
{
    (void)state;
    sc_hasher hasher;
    char      hex[SC_DIGEST_HEX_BYTES + 1];
    sc_hasher_init(&hasher);
    for (uint32_t point = 0; point < 0x110000; point++) {
        char text[16];
        if (point >= 0xD800 && point <= 0xDFFF)
            continue;
        size_t len = write_folded(sc_unicode_fold(point), text);
        text[len++] = sc_unicode_is_punctuation(point) ? 'p' : '\n';
        sc_hasher_bytes(&hasher, text, len);
    }
    sc_digest digest = sc_hasher_final(&hasher);
    sc_hex_encode(digest.bytes, sizeof digest.bytes, hex);
    assert_string_equal(hex, sc_unicode_digest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_is_treated_as_by_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
