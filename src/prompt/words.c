#include "src/prompt/words.h"

#include <utf8proc.h>

typedef enum { BORDER, LETTER, DIGIT } kind;

static kind kind_of_ascii(char c)
{
    if (c >= '0' && c <= '9')
        return DIGIT;
    return c >= 'a' && c <= 'z' ? LETTER : BORDER;
}

static kind kind_of_other(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    if (category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO)
        return DIGIT;
    return category >= UTF8PROC_CATEGORY_LU && category < UTF8PROC_CATEGORY_ND ? LETTER : BORDER;
}

/* What kind of character *bytes of the text's beginning are. */
static kind kind_of(sc_str text, size_t *bytes)
{
    int32_t c = ' ';
    *bytes = 1;
    if ((unsigned char)text.ptr[0] < 0x80)
        return kind_of_ascii(text.ptr[0]);
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text.ptr,
                                          (utf8proc_ssize_t)text.len, &c);
    if (n > 0)
        *bytes = (size_t)n;
    return kind_of_other(c);
}

static void skip(sc_str *text, size_t bytes)
{
    text->ptr += bytes;
    text->len -= bytes;
}

bool sc_word_next(sc_str *rest, sc_word *word)
{
    size_t bytes = 0;
    kind   first = BORDER;
    while (rest->len != 0 && (first = kind_of(*rest, &bytes)) == BORDER)
        skip(rest, bytes);
    word->text = (sc_str){rest->ptr, 0};
    word->figure = first == DIGIT;
    while (rest->len != 0 && kind_of(*rest, &bytes) == first) {
        word->text.len += bytes;
        skip(rest, bytes);
    }
    return word->text.len != 0;
}
