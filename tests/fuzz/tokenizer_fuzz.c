/* The tokenizer over any text, and the vocabulary reader over any list. The first byte decides:
 * 'v' is followed by a vocabulary, anything else belongs to a text already. */
#include <stdint.h>
#include <stdlib.h>

#include "src/embed/local/tokenizer.h"

static const char vocabulary[] = "[UNK]\n[CLS]\n[SEP]\na\nb\nab\nabc\n##a\n##b\n##bc\n##\xc3\xb8\n"
                                 "the\n##s\n.\n,\n!\n[\n]\nsep\n\xe4\xbd\xa0\n\xe1\x84\x80\n"
                                 "##\xe1\x85\xa1\n1\n##2\n##3\n";

static void run(const sc_tokenizer *tokenizer, sc_str text)
{
    sc_tokens     tokens;
    sc_embed_note note = sc_tokenizer_run(tokenizer, text, &tokens);
    if (tokens.count < 2 || tokens.count > SC_TOKENS_MAX)
        abort();
    if (note == SC_EMBED_USABLE && tokens.count == 2)
        abort(); /* an empty sentence has a vector that every empty sentence shares */
    if (note == SC_EMBED_TRUNCATED && tokens.count != SC_TOKENS_MAX)
        abort();
    for (uint32_t i = 0; i < tokens.count; i++)
        if (tokens.ids[i] >= sc_tokenizer_pieces(tokenizer))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static sc_tokenizer *fixed;
    sc_str               input = {(const char *)data, size};
    sc_error             error = {0};
    if (fixed == NULL && sc_tokenizer_open(SC_STR(vocabulary), &fixed, &error) != SC_OK)
        abort();
    if (size == 0 || data[0] != 'v') {
        run(fixed, input);
        return 0;
    }
    sc_tokenizer *tokenizer;
    input = (sc_str){input.ptr + 1, input.len - 1};
    if (sc_tokenizer_open(input, &tokenizer, &error) != SC_OK)
        return 0;
    run(tokenizer, input);
    sc_tokenizer_close(tokenizer);
    return 0;
}
