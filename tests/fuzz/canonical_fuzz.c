/* A prompt from anybody: its canonical text is valid, tidy, and the canonical text of itself; and
 * its two halves as two questions. */
#include <assert.h>
#include <string.h>

#include "src/prompt/canonical.h"
#include "src/text/utf8.h"

enum { ARENA_FACTOR = 32, ARENA_BYTES_MIN = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const sc_canon *canon(void)
{
    static sc_canon *opened;
    const sc_canon_options options = {
        .match = {[SC_VOLATILE_UUID] = true, [SC_VOLATILE_NUMBER] = true},
        .match_figures = true,
        .match_denial = true,
        .match_direction = true};
    if (opened == NULL && sc_canon_open(&options, &opened, NULL) != SC_OK)
        assert(!"the built-in patterns compile");
    return opened;
}

static void check_text(sc_str text)
{
    assert(sc_utf8_valid(text, NULL));
    assert(text.ptr[text.len] == '\0' && strlen(text.ptr) == text.len);
    assert(text.len == 0 || (text.ptr[0] != ' ' && text.ptr[text.len - 1] != ' '));
    assert(strstr(text.ptr, "  ") == NULL);
}

/* Two texts: opposed either way round or not at all, and no text is opposed to itself. */
static void check_halves(sc_str text)
{
    size_t half = text.len / 2;
    while (half != 0 && ((unsigned char)text.ptr[half] & 0xC0) == 0x80)
        half--;
    sc_str a = {text.ptr, half}, b = {text.ptr + half, text.len - half};
    assert(sc_canon_opposed(canon(), a, b) == sc_canon_opposed(canon(), b, a));
    assert(!sc_canon_opposed(canon(), text, text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_str       prompt = {size == 0 ? "" : (const char *)data, size};
    sc_arena     arena;
    sc_canonical once, twice;
    if (!sc_utf8_valid(prompt, NULL) || memchr(prompt.ptr, '\0', prompt.len) != NULL)
        return 0;
    sc_arena_init(&arena, 2 * (ARENA_BYTES_MIN + ARENA_FACTOR * size));
    assert(sc_canon_apply(canon(), prompt, &arena, &once, NULL) == SC_OK);
    check_text(once.text);
    bool matched = false;
    for (size_t i = 0; i < once.values_count; i++) {
        assert(once.values[i].text.len != 0);
        matched |= once.values[i].cls != SC_VOLATILE_TIME;
    }
    assert(!matched || once.guard != 0);
    assert(sc_canon_apply(canon(), once.text, &arena, &twice, NULL) == SC_OK);
    assert(sc_str_equal(once.text, twice.text));
    check_halves(once.text);
    sc_arena_fini(&arena);
    return 0;
}
