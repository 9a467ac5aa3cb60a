#include "src/store/cluster/table.h"

#include <stdio.h>
#include <string.h>

bool sc_node_equal(const sc_node *a, const sc_node *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void sc_slot_table_init(sc_slot_table *table)
{
    memset(table, 0, sizeof *table);
    memset(table->owner, SC_OWNER_NONE, sizeof table->owner);
}

/* --- CLUSTER SLOTS --------------------------------------------------------------------- */

static bool is_array(const redisReply *reply, size_t elements_min)
{
    return reply->type == REDIS_REPLY_ARRAY && reply->elements >= elements_min;
}

static bool read_number(const redisReply *reply, long long most, long long *out)
{
    *out = reply->type == REDIS_REPLY_INTEGER ? reply->integer : -1;
    return *out >= 0 && *out <= most;
}

/* As in a URL, where it will be used. "?" is a node that does not know its own name. */
static bool read_host(sc_str host, const char *asked, sc_node *out)
{
    if (host.len == 0)
        host = sc_str_of(asked);
    if (host.len == 0 || host.len >= sizeof out->host)
        return false;
    for (size_t i = 0; i < host.len; i++)
        if (host.ptr[i] <= ' ' || host.ptr[i] >= 127 || host.ptr[i] == '?')
            return false;
    memcpy(out->host, host.ptr, host.len);
    out->host[host.len] = '\0';
    return true;
}

static bool read_node(const redisReply *reply, const char *asked, sc_node *out)
{
    long long port;

    if (!is_array(reply, 2) || !read_number(reply->element[1], 65535, &port) || port == 0)
        return false;
    const redisReply *host = reply->element[0];
    if (host->type != REDIS_REPLY_STRING && host->type != REDIS_REPLY_NIL)
        return false;
    out->port = (uint16_t)port;
    bool named = host->type == REDIS_REPLY_STRING;
    return read_host(named ? (sc_str){host->str, host->len} : SC_STR(""), asked, out);
}

/* Its place among the masters, where it is put if it is new; SC_MASTERS_MAX: no room. */
static size_t place_of(sc_slot_table *table, const sc_node *node)
{
    size_t at = 0;

    while (at < table->masters && !sc_node_equal(&table->nodes[at], node))
        at++;
    if (at == table->masters && at < SC_MASTERS_MAX)
        table->nodes[table->masters++] = *node;
    return at;
}

/* [from, to, master, replicas ...] */
static sc_status read_range(const redisReply *range, const char *asked, sc_slot_table *table)
{
    long long from, to;
    sc_node   node;

    if (!is_array(range, 3) || !read_number(range->element[0], SC_SLOTS - 1, &from) ||
        !read_number(range->element[1], SC_SLOTS - 1, &to) || from > to ||
        !read_node(range->element[2], asked, &node))
        return SC_CORRUPT;
    size_t at = place_of(table, &node);
    if (at == SC_MASTERS_MAX)
        return SC_TOO_LARGE;
    for (long long slot = from; slot <= to; slot++) {
        if (table->owner[slot] != SC_OWNER_NONE)
            return SC_CORRUPT;
        table->owner[slot] = (uint8_t)at;
        sc_slot_add(&table->owned[at], (uint16_t)slot);
    }
    return SC_OK;
}

sc_status sc_slot_table_read(const redisReply *reply, const char *asked, sc_slot_table *out)
{
    sc_status status = SC_OK;

    sc_slot_table_init(out);
    if (reply == NULL || reply->type != REDIS_REPLY_ARRAY)
        return SC_CORRUPT;
    for (size_t i = 0; i < reply->elements && status == SC_OK; i++)
        status = read_range(reply->element[i], asked, out);
    return status;
}

/* --- MOVED ----------------------------------------------------------------------------- */

/* Takes decimal digits from the front. */
static bool take_number(sc_str *text, unsigned most, unsigned *out)
{
    size_t digits = 0;

    *out = 0;
    for (; digits < text->len && text->ptr[digits] >= '0' && text->ptr[digits] <= '9'; digits++) {
        *out = *out * 10 + (unsigned)(text->ptr[digits] - '0');
        if (*out > most)
            return false;
    }
    *text = (sc_str){text->ptr + digits, text->len - digits};
    return digits != 0;
}

bool sc_moved_read(sc_str text, const char *asked, uint16_t *slot, sc_node *to)
{
    static const char start[] = "MOVED ";
    unsigned          number, port;

    if (text.len < sizeof start - 1 || memcmp(text.ptr, start, sizeof start - 1) != 0)
        return false;
    text = (sc_str){text.ptr + sizeof start - 1, text.len - (sizeof start - 1)};
    if (!take_number(&text, SC_SLOTS - 1, &number) || text.len == 0 || text.ptr[0] != ' ')
        return false;
    const char *host = text.ptr + 1;
    const char *colon = memrchr(host, ':', text.len - 1); /* the last: a host may be IPv6 */
    if (colon == NULL || !read_host((sc_str){host, (size_t)(colon - host)}, asked, to))
        return false;
    text = (sc_str){colon + 1, text.len - 1 - (size_t)(colon + 1 - host)};
    if (!take_number(&text, 65535, &port) || text.len != 0 || port == 0)
        return false;
    *slot = (uint16_t)number;
    to->port = (uint16_t)port;
    return true;
}

/* --- seeds ----------------------------------------------------------------------------- */

/* Up to the next comma, which is taken away. */
static sc_str take_place(sc_str *text)
{
    const char *comma = text->len == 0 ? NULL : memchr(text->ptr, ',', text->len);
    sc_str      place = {text->ptr, comma == NULL ? text->len : (size_t)(comma - text->ptr)};
    size_t      taken = place.len + (comma != NULL);

    *text = (sc_str){text->ptr + taken, text->len - taken};
    return place;
}

static sc_status read_place(sc_str place, sc_redis_url *seed, sc_error *error)
{
    sc_redis_url read;
    char         text[SC_REDIS_HOST_BYTES + 16];
    int          len = snprintf(text, sizeof text, "redis://%.*s", (int)place.len, place.ptr);

    if (len < 0 || (size_t)len >= sizeof text || memchr(place.ptr, '@', place.len) != NULL)
        return sc_fail(error, SC_INVALID, "REDIS_URL: what follows a comma must be host:port");
    sc_status status = sc_redis_url_parse((sc_str){text, (size_t)len}, &read, error);
    if (status != SC_OK)
        return status;
    seed->port = read.port;
    memcpy(seed->host, read.host, sizeof seed->host);
    return SC_OK;
}

sc_status sc_seeds_read(sc_str text, sc_redis_url seeds[SC_SEEDS_MAX], size_t *count,
                        sc_error *error)
{
    *count = 0;
    if (text.len == 0)
        return sc_fail(error, SC_INVALID, "REDIS_URL: is absent");
    /* A password may hold commas. */
    const char *at = memrchr(text.ptr, '@', text.len);
    size_t      head = at == NULL ? 0 : (size_t)(at - text.ptr);
    sc_str      rest = {text.ptr + head, text.len - head};
    sc_str      first = take_place(&rest);

    sc_status status =
        sc_redis_url_parse((sc_str){text.ptr, head + first.len}, &seeds[(*count)++], error);
    while (status == SC_OK && rest.len != 0) {
        if (*count == SC_SEEDS_MAX)
            return sc_fail(error, SC_INVALID, "REDIS_URL: more than %d nodes", SC_SEEDS_MAX);
        seeds[*count] = seeds[0];
        status = read_place(take_place(&rest), &seeds[(*count)++], error);
    }
    return status;
}
