#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "src/embed/local/tokenizer.h"
#include "tests/unit/embed/local/golden.h"

static char *read_vocabulary(size_t *len)
{
    enum { BYTES_MAX = 1 << 20 };
    char  path[4200];
    char *bytes = malloc(BYTES_MAX);
    snprintf(path, sizeof path, "%s/vocab.txt", golden_model_dir());
    FILE *file = fopen(path, "rb");
    assert_non_null(bytes);
    assert_non_null(file);
    *len = fread(bytes, 1, BYTES_MAX, file);
    fclose(file);
    return bytes;
}

static sc_tokenizer *open_real(void)
{
    sc_error      error = {0};
    sc_tokenizer *tokenizer;
    size_t        len;
    char         *bytes = read_vocabulary(&len);
    assert_int_equal(sc_tokenizer_open((sc_str){bytes, len}, &tokenizer, &error), SC_OK);
    free(bytes);
    return tokenizer;
}

static sc_tokenizer *open_small(const char *extra)
{
    char          vocabulary[256];
    sc_error      error = {0};
    sc_tokenizer *tokenizer;
    snprintf(vocabulary, sizeof vocabulary, "[UNK]\n[CLS]\n[SEP]\n%s", extra);
    assert_int_equal(sc_tokenizer_open(sc_str_of(vocabulary), &tokenizer, &error), SC_OK);
    return tokenizer;
}

/* The model would read other words than were written. */
static void golden_texts_have_the_references_pieces_and_notes(void **state)
{
    (void)state;
    golden_file   golds = golden_open();
    sc_tokenizer *tokenizer = open_real();
    for (size_t i = 0; i < golds.count; i++) {
        const golden_text *text = &golds.texts[i];
        sc_tokens          tokens;
        assert_int_equal(sc_tokenizer_run(tokenizer, text->text, &tokens), text->note);
        assert_int_equal(tokens.count, text->ids_count);
        assert_memory_equal(tokens.ids, text->ids, text->ids_count * sizeof text->ids[0]);
    }
    sc_tokenizer_close(tokenizer);
    golden_close(&golds);
}

/* A caller could end the sentence that the model sees, and add another. */
static void special_tokens_in_a_text_are_plain_text(void **state)
{
    (void)state;
    sc_tokens     tokens;
    sc_tokenizer *tokenizer = open_real();
    assert_int_equal(sc_tokenizer_run(tokenizer, SC_STR("[SEP]"), &tokens), SC_EMBED_USABLE);
    assert_int_equal(tokens.count, 5); /* [CLS] [ sep ] [SEP] */
    assert_int_not_equal(tokens.ids[2], 102);
    sc_tokenizer_close(tokenizer);
}

static sc_embed_note note_of(const sc_tokenizer *tokenizer, const char *text, size_t len)
{
    sc_tokens     tokens;
    sc_embed_note note = sc_tokenizer_run(tokenizer, (sc_str){text, len}, &tokens);
    assert_in_range(tokens.count, 2, SC_TOKENS_MAX);
    return note;
}

/* Two prompts with the same first 254 pieces would have the same vector. */
static void a_text_of_more_than_254_pieces_is_truncated(void **state)
{
    (void)state;
    char          text[255 * 2];
    sc_tokenizer *tokenizer = open_small("a\n");
    for (size_t i = 0; i < sizeof text; i += 2)
        memcpy(text + i, "a ", 2);
    assert_int_equal(note_of(tokenizer, text, 254 * 2), SC_EMBED_USABLE);
    assert_int_equal(note_of(tokenizer, text, 255 * 2), SC_EMBED_TRUNCATED);
    sc_tokenizer_close(tokenizer);
}

/* Texts that differ only in what the model does not know would have the same vector. */
static void what_the_model_does_not_know_is_noted(void **state)
{
    (void)state;
    sc_tokenizer *tokenizer = open_small("a\n##b\n");
    assert_int_equal(note_of(tokenizer, "ab a", 4), SC_EMBED_USABLE);
    assert_int_equal(note_of(tokenizer, "ab c", 4), SC_EMBED_UNKNOWN);
    assert_int_equal(note_of(tokenizer, "ac", 2), SC_EMBED_UNKNOWN);
    assert_int_equal(note_of(tokenizer, "", 0), SC_EMBED_UNKNOWN);
    assert_int_equal(note_of(tokenizer, "\xe2\x80\x8b", 3), SC_EMBED_UNKNOWN); /* zero width */
    sc_tokenizer_close(tokenizer);
}

static void bytes_that_are_not_utf8_are_unknown(void **state)
{
    (void)state;
    static const char *const texts[] = {"a\x80",         "\xc3",     "\xc0\xaf",        "\xed\xa0\x80",
                                        "\xf5\x80\x80\x80", "\xe2\x82", "\xf0\x80\x80\xaf", "\xff"};
    sc_tokenizer            *tokenizer = open_small("a\n");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        assert_int_equal(note_of(tokenizer, texts[i], strlen(texts[i])), SC_EMBED_UNKNOWN);
    sc_tokenizer_close(tokenizer);
}

/* A damaged file must be found out at start, not by odd answers. */
static void a_list_that_is_no_vocabulary_is_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"", "\n", "[UNK]\n[CLS]\n", "[UNK]\n[CLS]\n[SEP]",
                                        "[UNK]\n[CLS]\n[SEP]\na\na\n", "[UNK]\n\n[CLS]\n[SEP]\n"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        sc_error      error = {0};
        sc_tokenizer *tokenizer;
        assert_int_equal(sc_tokenizer_open(sc_str_of(lists[i]), &tokenizer, &error), SC_CORRUPT);
        assert_null(tokenizer);
        assert_int_not_equal(error.text[0], '\0');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_texts_have_the_references_pieces_and_notes),
        cmocka_unit_test(special_tokens_in_a_text_are_plain_text),
        cmocka_unit_test(a_text_of_more_than_254_pieces_is_truncated),
        cmocka_unit_test(what_the_model_does_not_know_is_noted),
        cmocka_unit_test(bytes_that_are_not_utf8_are_unknown),
        cmocka_unit_test(a_list_that_is_no_vocabulary_is_refused),
    };
    golden_model_dir();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
