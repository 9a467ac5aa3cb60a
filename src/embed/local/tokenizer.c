#include "src/embed/local/tokenizer.h"

#include <stdbool.h>
#include <stdlib.h>

#include "src/embed/local/unicode.h"

/* Vocabulary: a hash table from a piece's bytes to its id. Greedy longest match wants the hashes of
 * all prefixes of what is left of a word; FNV-1a gives them in one pass, so a piece costs at most
 * piece_bytes_max steps and a few probes. A trie was not tried: tokenising is a thousandth of the
 * encoder's time. */
enum {
    PIECES_MAX = UINT16_MAX - 1,
    PIECE_BYTES_MAX = 64,
    WORD_CHARS_MAX = 100,
    WORD_BYTES_MAX = 4 * WORD_CHARS_MAX,
    BODY_MAX = SC_TOKENS_MAX - 2,
    VOCABULARY_BYTES_MAX = 16 << 20,
};

#define FNV_START UINT32_C(2166136261)
#define FNV_PRIME UINT32_C(16777619)
#define FNV_CONTINUATION UINT32_C(0x23235bd1) /* another start, so "##s" and "s" are different */

struct sc_tokenizer {
    /* Fixed by open. */
    char     *bytes;    /* the vocabulary */
    uint32_t *starts;   /* [pieces + 1], offsets of lines in bytes */
    uint16_t *slots;    /* [slot_mask + 1], id + 1, 0 when free; half of them are */
    size_t    slot_mask;
    uint32_t  pieces;
    size_t    piece_bytes_max; /* without "##" */
    uint16_t  unknown, opening, closing;
};

static uint32_t hash_step(uint32_t hash, char byte)
{
    return (hash ^ (uint8_t)byte) * FNV_PRIME;
}

static uint32_t hash_piece(sc_str piece, bool continuation)
{
    uint32_t hash = continuation ? FNV_CONTINUATION : FNV_START;
    for (size_t i = 0; i < piece.len; i++)
        hash = hash_step(hash, piece.ptr[i]);
    return hash;
}

static size_t slot_of(const sc_tokenizer *tokenizer, uint32_t hash)
{
    return (hash ^ hash >> 15) & tokenizer->slot_mask;
}

static size_t slot_after(const sc_tokenizer *tokenizer, size_t slot)
{
    return (slot + 1) & tokenizer->slot_mask;
}

static sc_str line_at(const sc_tokenizer *tokenizer, uint32_t id)
{
    uint32_t start = tokenizer->starts[id];
    return (sc_str){tokenizer->bytes + start, tokenizer->starts[id + 1] - start - 1};
}

/* Splits a line into its text and whether it continues a word. */
static sc_str piece_of(sc_str line, bool *continuation)
{
    *continuation = line.len > 2 && line.ptr[0] == '#' && line.ptr[1] == '#';
    return *continuation ? (sc_str){line.ptr + 2, line.len - 2} : line;
}

/* The id of a piece, or -1. */
static int32_t find_hashed(const sc_tokenizer *tokenizer, sc_str piece, bool continuation,
                           uint32_t hash)
{
    size_t at = slot_of(tokenizer, hash);
    for (; tokenizer->slots[at] != 0; at = slot_after(tokenizer, at)) {
        uint32_t id = tokenizer->slots[at] - UINT32_C(1);
        bool     other;
        if (sc_str_equal(piece_of(line_at(tokenizer, id), &other), piece) && other == continuation)
            return (int32_t)id;
    }
    return -1;
}

static int32_t find(const sc_tokenizer *tokenizer, sc_str piece)
{
    return find_hashed(tokenizer, piece, false, hash_piece(piece, false));
}

static sc_status add_piece(sc_tokenizer *tokenizer, uint32_t id, sc_error *error)
{
    bool     continuation;
    sc_str   piece = piece_of(line_at(tokenizer, id), &continuation);
    uint32_t hash = hash_piece(piece, continuation);
    if (piece.len == 0 || piece.len > PIECE_BYTES_MAX)
        return sc_fail(error, SC_CORRUPT, "vocabulary: line %u is not of 1 to %d bytes", id + 1,
                       PIECE_BYTES_MAX);
    if (find_hashed(tokenizer, piece, continuation, hash) >= 0)
        return sc_fail(error, SC_CORRUPT, "vocabulary: line %u repeats an earlier one", id + 1);
    size_t at = slot_of(tokenizer, hash);
    while (tokenizer->slots[at] != 0)
        at = slot_after(tokenizer, at);
    tokenizer->slots[at] = (uint16_t)(id + 1);
    if (piece.len > tokenizer->piece_bytes_max)
        tokenizer->piece_bytes_max = piece.len;
    return SC_OK;
}

static size_t slots_for(uint32_t pieces)
{
    size_t slots = 16;
    while (slots < (size_t)2 * pieces)
        slots *= 2;
    return slots;
}

static uint32_t count_lines(sc_str text)
{
    uint32_t lines = 0;
    for (size_t i = 0; i < text.len; i++)
        lines += text.ptr[i] == '\n';
    return lines;
}

static void mark_lines(sc_tokenizer *tokenizer, size_t len)
{
    uint32_t line = 0;
    for (size_t i = 0; i < len; i++)
        if (tokenizer->bytes[i] == '\n')
            tokenizer->starts[++line] = (uint32_t)(i + 1);
}

static sc_status find_special(const sc_tokenizer *tokenizer, const char *name, uint16_t *id,
                              sc_error *error)
{
    int32_t found = find(tokenizer, sc_str_of(name));
    if (found < 0)
        return sc_fail(error, SC_CORRUPT, "vocabulary: %s is missing", name);
    *id = (uint16_t)found;
    return SC_OK;
}

static sc_status fill(sc_tokenizer *tokenizer, sc_error *error)
{
    for (uint32_t id = 0; id < tokenizer->pieces; id++) {
        sc_status status = add_piece(tokenizer, id, error);
        if (status != SC_OK)
            return status;
    }
    sc_status status = find_special(tokenizer, "[UNK]", &tokenizer->unknown, error);
    if (status == SC_OK)
        status = find_special(tokenizer, "[CLS]", &tokenizer->opening, error);
    if (status == SC_OK)
        status = find_special(tokenizer, "[SEP]", &tokenizer->closing, error);
    return status;
}

sc_status sc_tokenizer_open(sc_str vocabulary, sc_tokenizer **out, sc_error *error)
{
    *out = NULL;
    if (vocabulary.len > VOCABULARY_BYTES_MAX)
        return sc_fail(error, SC_CORRUPT, "vocabulary: more than %d bytes", VOCABULARY_BYTES_MAX);
    uint32_t lines = count_lines(vocabulary);
    if (lines == 0 || lines > PIECES_MAX || vocabulary.ptr[vocabulary.len - 1] != '\n')
        return sc_fail(error, SC_CORRUPT, "vocabulary: not 1 to %d whole lines", PIECES_MAX);

    sc_status     status = SC_NO_MEMORY;
    sc_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (tokenizer == NULL)
        goto out;
    tokenizer->pieces = lines;
    tokenizer->bytes = malloc(vocabulary.len);
    tokenizer->starts = calloc(lines + 1, sizeof *tokenizer->starts);
    tokenizer->slots = calloc(slots_for(lines), sizeof *tokenizer->slots);
    tokenizer->slot_mask = slots_for(lines) - 1;
    if (tokenizer->bytes == NULL || tokenizer->starts == NULL || tokenizer->slots == NULL)
        goto out;
    memcpy(tokenizer->bytes, vocabulary.ptr, vocabulary.len);
    mark_lines(tokenizer, vocabulary.len);
    status = fill(tokenizer, error);
    if (status != SC_OK)
        goto out;
    *out = tokenizer;
    tokenizer = NULL;
out:
    if (status == SC_NO_MEMORY)
        sc_fail(error, status, "vocabulary: out of memory");
    sc_tokenizer_close(tokenizer);
    return status;
}

void sc_tokenizer_close(sc_tokenizer *tokenizer)
{
    if (tokenizer == NULL)
        return;
    free(tokenizer->bytes);
    free(tokenizer->starts);
    free(tokenizer->slots);
    free(tokenizer);
}

uint32_t sc_tokenizer_pieces(const sc_tokenizer *tokenizer)
{
    return tokenizer->pieces;
}

/* ---- Running ---- */

/* One text on its way: the word being gathered, the tokens so far. */
typedef struct {
    const sc_tokenizer *tokenizer;
    sc_tokens          *tokens;
    size_t              word_chars; /* also those beyond WORD_CHARS_MAX, which are not kept */
    size_t              word_bytes;
    bool                unknown;
    bool                full; /* a piece had no place */
    char                word[WORD_BYTES_MAX];
} sentence;

static void add_id(sentence *run, uint16_t id)
{
    if (run->tokens->count == SC_TOKENS_MAX - 1)
        run->full = true;
    else
        run->tokens->ids[run->tokens->count++] = id;
}

static void add_unknown(sentence *run)
{
    run->unknown = true;
    add_id(run, run->tokenizer->unknown);
}

static bool is_char_start(char byte)
{
    return ((uint8_t)byte & 0xC0) != 0x80;
}

/* The longest piece at the head of rest; -1 when there is none. */
static int32_t longest_piece(const sc_tokenizer *tokenizer, sc_str rest, bool continuation,
                             size_t *len)
{
    uint32_t hashes[PIECE_BYTES_MAX]; /* of prefixes */
    size_t   most = rest.len < tokenizer->piece_bytes_max ? rest.len : tokenizer->piece_bytes_max;
    uint32_t hash = continuation ? FNV_CONTINUATION : FNV_START;
    for (size_t i = 0; i < most; i++)
        hashes[i] = hash = hash_step(hash, rest.ptr[i]);
    for (*len = most; *len > 0; --*len) {
        if (*len < rest.len && !is_char_start(rest.ptr[*len]))
            continue;
        int32_t id =
            find_hashed(tokenizer, (sc_str){rest.ptr, *len}, continuation, hashes[*len - 1]);
        if (id >= 0)
            return id;
    }
    return -1;
}

/* Ends the word, if there is one: its pieces, or [UNK] when a part of it has none. */
static void end_word(sentence *run)
{
    uint16_t ids[WORD_CHARS_MAX];
    size_t   count = 0;
    sc_str   rest = {run->word, run->word_bytes};
    bool     known = run->word_chars <= WORD_CHARS_MAX;
    if (run->word_chars == 0)
        return;
    run->word_chars = run->word_bytes = 0;
    while (known && rest.len > 0) {
        size_t  len;
        int32_t id = longest_piece(run->tokenizer, rest, count > 0, &len);
        known = id >= 0;
        if (known)
            ids[count++] = (uint16_t)id;
        rest = (sc_str){rest.ptr + len, rest.len - len};
    }
    if (!known)
        add_unknown(run);
    for (size_t i = 0; known && i < count; i++)
        add_id(run, ids[i]);
}

static void append_char(sentence *run, uint32_t point)
{
    if (++run->word_chars > WORD_CHARS_MAX)
        return;
    char *out = run->word + run->word_bytes;
    if (point < 0x80) {
        *out++ = (char)point;
    } else if (point < 0x800) {
        *out++ = (char)(0xC0 | point >> 6);
        *out++ = (char)(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
        *out++ = (char)(0xE0 | point >> 12);
        *out++ = (char)(0x80 | (point >> 6 & 0x3F));
        *out++ = (char)(0x80 | (point & 0x3F));
    } else {
        *out++ = (char)(0xF0 | point >> 18);
        *out++ = (char)(0x80 | (point >> 12 & 0x3F));
        *out++ = (char)(0x80 | (point >> 6 & 0x3F));
        *out++ = (char)(0x80 | (point & 0x3F));
    }
    run->word_bytes = (size_t)(out - run->word);
}

static void add_char(sentence *run, uint32_t point, bool apart)
{
    if (point == ' ') {
        end_word(run);
        return;
    }
    apart = apart || sc_unicode_is_punctuation(point);
    if (apart)
        end_word(run);
    append_char(run, point);
    if (apart)
        end_word(run);
}

/* The code point at the head of text and its bytes in *len; -1 when it is not UTF-8. */
static int32_t decode(sc_str text, size_t *len)
{
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t               head = (uint8_t)text.ptr[0];
    *len = head < 0x80 ? 1 : head >= 0xF0 ? 4 : head >= 0xE0 ? 3 : 2;
    if (*len == 1)
        return head;
    if (head < 0xC0 || head > 0xF7 || *len > text.len)
        return -1;
    uint32_t point = head & (0x7Fu >> *len);
    for (size_t i = 1; i < *len; i++) {
        if (is_char_start(text.ptr[i]))
            return -1;
        point = point << 6 | ((uint8_t)text.ptr[i] & 0x3F);
    }
    bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < smallest[*len] || point > 0x10FFFF || surrogate ? -1 : (int32_t)point;
}

static void add_text(sentence *run, sc_str text)
{
    while (text.len > 0 && !run->full) {
        size_t  len;
        int32_t point = decode(text, &len);
        if (point < 0) {
            run->unknown = true;
            return;
        }
        sc_unicode_folded folded = sc_unicode_fold((uint32_t)point);
        for (uint8_t i = 0; i < folded.count; i++)
            add_char(run, folded.chars[i], folded.apart);
        text = (sc_str){text.ptr + len, text.len - len};
    }
    end_word(run);
}

sc_embed_note sc_tokenizer_run(const sc_tokenizer *tokenizer, sc_str text, sc_tokens *tokens)
{
    sentence run = {.tokenizer = tokenizer, .tokens = tokens};
    tokens->count = 0;
    add_id(&run, tokenizer->opening);
    add_text(&run, text);
    bool nothing = tokens->count == 1;
    tokens->ids[tokens->count++] = tokenizer->closing;
    if (run.full)
        return SC_EMBED_TRUNCATED;
    /* An empty sentence is no sentence: every text of controls and accents would share its vector. */
    return run.unknown || nothing ? SC_EMBED_UNKNOWN : SC_EMBED_USABLE;
}
