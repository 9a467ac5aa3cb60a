#include "src/embed/local/unicode.h"

#include <stddef.h>

#include "src/embed/local/unicode_table.h"

enum {
    HANGUL_FIRST = 0xAC00,
    HANGUL_LAST = 0xD7A3,
    HANGUL_LEAD = 0x1100,
    HANGUL_VOWEL = 0x1161,
    HANGUL_TAIL = 0x11A7,
    HANGUL_TAILS = 28,
    HANGUL_VOWELS_TAILS = 588,
};

static const sc_unicode_range *find_range(const sc_unicode_range *ranges, size_t count,
                                          uint32_t point)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < count && point >= ranges[low].first ? &ranges[low] : NULL;
}

static const sc_unicode_pair *find_pair(uint32_t point)
{
    size_t low = 0, high = sc_unicode_pairs_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > sc_unicode_pairs[middle].from)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sc_unicode_pairs_count && sc_unicode_pairs[low].from == point
               ? &sc_unicode_pairs[low]
               : NULL;
}

static sc_unicode_folded one(uint32_t point, bool apart)
{
    return (sc_unicode_folded){.chars = {point}, .count = 1, .apart = apart};
}

static sc_unicode_folded fold_ascii(uint32_t point)
{
    if (point >= 'A' && point <= 'Z')
        return one(point + ('a' - 'A'), false);
    if (point == '\t' || point == '\n' || point == '\r')
        return one(' ', false);
    if (point < ' ' || point == 0x7f)
        return (sc_unicode_folded){.count = 0};
    return one(point, false);
}

static sc_unicode_folded fold_hangul(uint32_t point)
{
    uint32_t          syllable = point - HANGUL_FIRST;
    uint32_t          tail = syllable % HANGUL_TAILS;
    sc_unicode_folded folded = {
        .chars = {HANGUL_LEAD + syllable / HANGUL_VOWELS_TAILS,
                  HANGUL_VOWEL + syllable % HANGUL_VOWELS_TAILS / HANGUL_TAILS, HANGUL_TAIL + tail},
        .count = tail == 0 ? 2 : 3,
    };
    return folded;
}

static sc_unicode_folded fold_range(uint32_t point, uint32_t kind)
{
    if (kind == SC_UNICODE_DELETED)
        return (sc_unicode_folded){.count = 0};
    return kind == SC_UNICODE_SPACE ? one(' ', false) : one(point, true);
}

static sc_unicode_folded fold_pair(uint32_t to)
{
    if ((to & SC_UNICODE_TO_SEVERAL) == 0)
        return one(to & ~SC_UNICODE_TO_APART, (to & SC_UNICODE_TO_APART) != 0);
    const uint32_t   *three = &sc_unicode_pool[(size_t)3 * (to & ~SC_UNICODE_TO_SEVERAL)];
    sc_unicode_folded folded = {.chars = {three[0], three[1], three[2]},
                                .count = three[2] == 0 ? 2 : 3};
    return folded;
}

sc_unicode_folded sc_unicode_fold(uint32_t point)
{
    if (point < 0x80)
        return fold_ascii(point);
    if (point >= HANGUL_FIRST && point <= HANGUL_LAST)
        return fold_hangul(point);
    const sc_unicode_range *range = find_range(sc_unicode_ranges, sc_unicode_ranges_count, point);
    if (range != NULL)
        return fold_range(point, range->kind);
    const sc_unicode_pair *pair = find_pair(point);
    return pair != NULL ? fold_pair(pair->to) : one(point, false);
}

bool sc_unicode_is_punctuation(uint32_t point)
{
    if (point < 0x80)
        return (point >= '!' && point <= '/') || (point >= ':' && point <= '@') ||
               (point >= '[' && point <= '`') || (point >= '{' && point <= '~');
    return find_range(sc_unicode_punctuation, sc_unicode_punctuation_count, point) != NULL;
}
