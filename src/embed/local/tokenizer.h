/* tokenizer.h - text to BERT's word pieces, exactly as the model's own tokenizer does it.
 *
 * One deliberate difference: special tokens written in a text ("[SEP]") are plain text here. The
 * reference would turn them into the real token, which lets a caller rewrite the sentence that the
 * model sees.
 *
 * Immutable once open: any thread may run it, and running allocates nothing. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"
#include "src/embed/embed.h"

enum { SC_TOKENS_MAX = 256 }; /* that the model reads, [CLS] and [SEP] included */

typedef struct {
    uint16_t ids[SC_TOKENS_MAX];
    uint32_t count; /* 2 or more */
} sc_tokens;

typedef struct sc_tokenizer sc_tokenizer;

/* Copies vocabulary: one piece per line, its number is its id, "##" marks a continuation.
 * Errors: SC_CORRUPT for anything else than such a list with [UNK], [CLS] and [SEP]. */
SC_MUST_CHECK sc_status sc_tokenizer_open(sc_str vocabulary, sc_tokenizer **out, sc_error *error);

/* NULL is welcome. */
void sc_tokenizer_close(sc_tokenizer *tokenizer);

/* Pieces in the vocabulary. */
uint32_t sc_tokenizer_pieces(const sc_tokenizer *tokenizer);

/* Fills *tokens whatever the note. TRUNCATED: there were more pieces than fit. UNKNOWN: a piece is
 * [UNK], nothing of the text was left, or it was not UTF-8. */
sc_embed_note sc_tokenizer_run(const sc_tokenizer *tokenizer, sc_str text, sc_tokens *tokens);
