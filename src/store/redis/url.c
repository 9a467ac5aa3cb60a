#include "src/store/redis/url.h"

enum { PORT_FALLBACK = 6379 };

static sc_str part(sc_str text, size_t from, size_t to)
{
    return (sc_str){text.ptr + from, to - from};
}

static size_t find(sc_str text, char wanted)
{
    size_t at = 0;
    while (at < text.len && text.ptr[at] != wanted)
        at++;
    return at;
}

static size_t find_last(sc_str text, char wanted)
{
    for (size_t at = text.len; at > 0; at--)
        if (text.ptr[at - 1] == wanted)
            return at - 1;
    return text.len;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* False: too long, a broken escape, or a NUL that would cut the value short. */
static bool unescape(sc_str from, char *out, size_t room)
{
    size_t used = 0;

    for (size_t at = 0; at < from.len; at++) {
        int value = (unsigned char)from.ptr[at];
        if (value == '%') {
            int high = at + 2 < from.len ? hex_value(from.ptr[at + 1]) : -1;
            int low = at + 2 < from.len ? hex_value(from.ptr[at + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            value = high * 16 + low;
            at += 2;
        }
        if (value == 0 || used + 1 >= room)
            return false;
        out[used++] = (char)value;
    }
    out[used] = '\0';
    return true;
}

static bool read_port(sc_str text, uint16_t *port)
{
    uint32_t value = 0;

    if (text.len == 0 || text.len > 5)
        return false;
    for (size_t at = 0; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9')
            return false;
        value = value * 10 + (uint32_t)(text.ptr[at] - '0');
    }
    *port = (uint16_t)value;
    return value >= 1 && value <= 65535;
}

static bool host_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' ||
           c == '.' || c == '_' || c == ':' || c == '%';
}

static bool read_host(sc_str text, sc_redis_url *out)
{
    if (text.len == 0 || text.len >= sizeof out->host)
        return false;
    for (size_t at = 0; at < text.len; at++)
        if (!host_character(text.ptr[at]))
            return false;
    memcpy(out->host, text.ptr, text.len);
    out->host[text.len] = '\0';
    return true;
}

static sc_status read_place(sc_str text, sc_redis_url *out, sc_error *error)
{
    size_t host_end, colon;
    bool   bracketed = text.len != 0 && text.ptr[0] == '[';

    if (bracketed) {
        host_end = find(text, ']');
        colon = host_end + 1;
        if (host_end == text.len)
            return sc_fail(error, SC_INVALID, "REDIS_URL: no ] after an IPv6 address");
    } else {
        host_end = colon = find(text, ':');
    }
    if (!read_host(part(text, bracketed ? 1 : 0, host_end), out))
        return sc_fail(error, SC_INVALID,
                       "REDIS_URL: the host is empty, too long or has odd characters");
    if (colon < text.len &&
        (text.ptr[colon] != ':' || !read_port(part(text, colon + 1, text.len), &out->port)))
        return sc_fail(error, SC_INVALID, "REDIS_URL: the port is not a number from 1 to 65535");
    return SC_OK;
}

static sc_status read_identity(sc_str text, sc_redis_url *out, sc_error *error)
{
    size_t colon = find(text, ':');
    sc_str password = colon < text.len ? part(text, colon + 1, text.len) : SC_STR("");

    if (!unescape(part(text, 0, colon), out->user, sizeof out->user) ||
        !unescape(password, out->password, sizeof out->password))
        return sc_fail(error, SC_INVALID,
                       "REDIS_URL: user or password is over %d bytes or badly escaped",
                       SC_REDIS_SECRET_BYTES - 1);
    if (out->user[0] != '\0' && out->password[0] == '\0')
        return sc_fail(error, SC_INVALID, "REDIS_URL: a user without a password");
    return SC_OK;
}

static bool take_scheme(sc_str *text, sc_str scheme)
{
    if (text->len < scheme.len || memcmp(text->ptr, scheme.ptr, scheme.len) != 0)
        return false;
    *text = part(*text, scheme.len, text->len);
    return true;
}

sc_status sc_redis_url_parse(sc_str text, sc_redis_url *out, sc_error *error)
{
    *out = (sc_redis_url){.port = PORT_FALLBACK};
    if (take_scheme(&text, SC_STR("rediss://")))
        out->tls = true;
    else if (!take_scheme(&text, SC_STR("redis://")))
        return sc_fail(error, SC_INVALID, "REDIS_URL: must begin with redis:// or rediss://");

    /* An unescaped @ may stand in a password, never in a host; / never in either. */
    size_t slash = find(text, '/');
    sc_str database = slash < text.len ? part(text, slash + 1, text.len) : SC_STR("");
    sc_str authority = part(text, 0, slash);
    size_t at = find_last(authority, '@');

    if (database.len != 0 && !sc_str_equal(database, SC_STR("0")))
        return sc_fail(error, SC_INVALID,
                       "REDIS_URL: the database must be 0: RediSearch indexes no other");
    if (at == authority.len)
        return read_place(authority, out, error);
    sc_status status = read_identity(part(authority, 0, at), out, error);
    return status != SC_OK ? status
                           : read_place(part(authority, at + 1, authority.len), out, error);
}
