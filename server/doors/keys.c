#include "server/doors/keys.h"

#include <math.h>
#include <stdlib.h>

enum { WORDS_MAX = 12, WORD_BYTES_MAX = 512 };

typedef struct {
    sc_keys *keys;
    sc_error *error;
    unsigned line;
    sc_str   words[WORDS_MAX];
    size_t   words_count;
} parser;

static sc_status bad(const parser *p, const char *problem)
{
    return sc_fail(p->error, SC_INVALID, "line %u: %s", p->line, problem);
}

static bool is(sc_str word, const char *text)
{
    return sc_str_equal(word, sc_str_of(text));
}

/* ---- words ---- */

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static bool split(parser *p, sc_str line)
{
    size_t at = 0;
    p->words_count = 0;
    for (;;) {
        while (at < line.len && is_blank(line.ptr[at]))
            at++;
        if (at == line.len || line.ptr[at] == '#')
            return true;
        size_t from = at;
        while (at < line.len && !is_blank(line.ptr[at]))
            at++;
        if (p->words_count == WORDS_MAX || at - from > WORD_BYTES_MAX)
            return false;
        p->words[p->words_count++] = (sc_str){line.ptr + from, at - from};
    }
}

static bool is_name(sc_str word)
{
    for (size_t i = 0; i < word.len; i++) {
        char c = word.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '.' || c == '-'))
            return false;
    }
    return word.len != 0 && word.len <= SC_TENANT_BYTES_MAX;
}

/* A plain decimal number, at most max. */
static bool number_read(sc_str word, double max, double *out)
{
    char  text[32];
    char *end;
    if (word.len == 0 || word.len >= sizeof text || memchr(word.ptr, '\0', word.len) != NULL)
        return false;
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    if (text[strspn(text, "0123456789.")] != '\0')
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out) && *out <= max;
}

/* A whole one, 1 to max; 0 when it is none. max is exact in a double. */
static bool count_read(sc_str word, double max, uint64_t *out)
{
    double value;
    bool   ok = number_read(word, max, &value) && value >= 1 && value == floor(value);
    *out = ok ? (uint64_t)value : 0;
    return ok;
}

/* ---- rows ---- */

static sc_status row_room(void **rows, size_t count, size_t size, size_t max)
{
    if (count == max)
        return SC_TOO_LARGE;
    if ((count & (count - 1)) != 0) /* room grows at powers of two */
        return SC_OK;
    void *grown = realloc(*rows, (count == 0 ? 1 : 2 * count) * size);
    if (grown == NULL)
        return SC_NO_MEMORY;
    *rows = grown;
    return SC_OK;
}

static bool tenant_find(const sc_keys *keys, sc_str name, uint32_t *at)
{
    for (size_t i = 0; i < keys->tenants_count; i++)
        if (is(name, keys->tenants[i].name)) {
            *at = (uint32_t)i;
            return true;
        }
    return false;
}

static bool limit_read(sc_str word, sc_tenant_limits *limits)
{
    const char *equals = memchr(word.ptr, '=', word.len);
    uint64_t    count;
    if (equals == NULL)
        return false;
    sc_str name = {word.ptr, (size_t)(equals - word.ptr)};
    sc_str text = {equals + 1, word.len - name.len - 1};
    if (is(name, "rate"))
        return number_read(text, 1e6, &limits->rate) && limits->rate > 0;
    if (is(name, "burst"))
        return number_read(text, 1e6, &limits->burst) && limits->burst >= 1;
    if (is(name, "max_distance"))
        return number_read(text, 2, &limits->distance_max);
    if (is(name, "inflight")) {
        bool ok = count_read(text, 1e6, &count);
        limits->inflight_max = (uint32_t)count;
        return ok;
    }
    if (is(name, "ttl_seconds")) {
        bool ok = count_read(text, 31536000, &count);
        limits->ttl_seconds_max = (int64_t)count;
        return ok;
    }
    if (is(name, "entries"))
        return count_read(text, 1e9, &limits->entries_max);
    if (is(name, "bytes"))
        return count_read(text, 1e15, &limits->bytes_max);
    return false;
}

static sc_status tenant_line(parser *p)
{
    sc_keys      *keys = p->keys;
    sc_tenant_row row = {.limits = {.distance_max = 2}};
    uint32_t      there;

    if (p->words_count < 2 || !is_name(p->words[1]))
        return bad(p, "tenant: a name of 1 to 64 letters, digits or _.- is needed");
    if (tenant_find(keys, p->words[1], &there))
        return bad(p, "tenant: named twice");
    memcpy(row.name, p->words[1].ptr, p->words[1].len);
    for (size_t i = 2; i < p->words_count; i++)
        if (!limit_read(p->words[i], &row.limits))
            return bad(p, "tenant: a limit is not one of rate burst inflight ttl_seconds "
                          "max_distance entries bytes, or out of range");
    if (row.limits.burst == 0)
        row.limits.burst = row.limits.rate > 1 ? row.limits.rate : 1;
    void     *rows = keys->tenants;
    sc_status status = row_room(&rows, keys->tenants_count, sizeof row, SC_TENANTS_MAX);
    keys->tenants = rows;
    if (status != SC_OK)
        return sc_fail(p->error, status, "line %u: more than %d tenants, or no memory", p->line,
                       SC_TENANTS_MAX);
    keys->tenants[keys->tenants_count++] = row;
    return SC_OK;
}

static bool rights_read(sc_str word, unsigned *rights)
{
    static const struct {
        const char *name;
        unsigned    right;
    } names[] = {{"answer", SC_RIGHT_ANSWER}, {"store", SC_RIGHT_STORE},
                 {"invalidate", SC_RIGHT_INVALIDATE}, {"stats", SC_RIGHT_STATS},
                 {"admin", SC_RIGHT_ADMIN}, {"all", SC_RIGHT_ALL}};
    *rights = 0;
    while (word.len != 0) {
        const char *comma = memchr(word.ptr, ',', word.len);
        sc_str      one = {word.ptr, comma != NULL ? (size_t)(comma - word.ptr) : word.len};
        unsigned    found = 0;
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
            if (is(one, names[i].name))
                found = names[i].right;
        if (found == 0)
            return false;
        *rights |= found;
        if (comma == NULL)
            return true;
        word = (sc_str){comma + 1, word.len - one.len - 1};
    }
    return false; /* nothing, or nothing after a comma */
}

/* Words 2 and 3: who, and what it may do. */
static sc_status key_line(parser *p, bool san)
{
    sc_keys   *keys = p->keys;
    sc_key_row row = {0};

    if (p->words_count != 4)
        return bad(p, "key or san: tenant, hash or name, and rights are needed");
    if (!tenant_find(keys, p->words[1], &row.tenant))
        return bad(p, "key or san: no tenant line of this name above");
    if (!rights_read(p->words[3], &row.rights))
        return bad(p, "rights are answer, store, invalidate, stats, admin or all, with commas");
    if (!san && !sc_hex_decode(p->words[2], row.hash.bytes, sizeof row.hash.bytes))
        return bad(p, "key: 64 hex digits, the key's SHA-256, are needed");
    if (san && (p->words[2].len > SC_SAN_BYTES_MAX ||
                memchr(p->words[2].ptr, '\0', p->words[2].len) != NULL))
        return bad(p, "san: a name of 1 to 256 bytes is needed");
    if (san)
        memcpy(row.san, p->words[2].ptr, p->words[2].len);
    for (size_t i = 0; i < keys->keys_count; i++)
        if (sc_digest_equal(&keys->keys[i].hash, &row.hash) &&
            strcmp(keys->keys[i].san, row.san) == 0)
            return bad(p, "this key or san was given before");
    void     *rows = keys->keys;
    sc_status status = row_room(&rows, keys->keys_count, sizeof row, SC_KEYS_MAX);
    keys->keys = rows;
    if (status != SC_OK)
        return sc_fail(p->error, status, "line %u: more than %d keys, or no memory", p->line,
                       SC_KEYS_MAX);
    keys->keys[keys->keys_count++] = row;
    return SC_OK;
}

static sc_status line_parse(parser *p, sc_str line)
{
    if (!split(p, line))
        return bad(p, "too many words, or too long a word");
    if (p->words_count == 0)
        return SC_OK;
    if (is(p->words[0], "tenant"))
        return tenant_line(p);
    if (is(p->words[0], "key"))
        return key_line(p, false);
    if (is(p->words[0], "san"))
        return key_line(p, true);
    return bad(p, "begins with none of tenant, key, san");
}

sc_status sc_keys_parse(sc_str text, sc_keys *keys, sc_error *error)
{
    parser    p = {.keys = keys, .error = error};
    sc_status status = SC_OK;

    memset(keys, 0, sizeof *keys);
    if (text.len > SC_KEYS_FILE_BYTES_MAX)
        return sc_fail(error, SC_TOO_LARGE, "over %d bytes", SC_KEYS_FILE_BYTES_MAX);
    while (status == SC_OK && text.len != 0) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t      len = end != NULL ? (size_t)(end - text.ptr) : text.len;
        p.line++;
        status = line_parse(&p, (sc_str){text.ptr, len});
        len += end != NULL;
        text = (sc_str){text.ptr + len, text.len - len};
    }
    return status;
}

void sc_keys_fini(sc_keys *keys)
{
    free(keys->tenants);
    free(keys->keys);
    memset(keys, 0, sizeof *keys);
}
