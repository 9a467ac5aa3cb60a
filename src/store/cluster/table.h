/* table.h - what a cluster says of itself: who owns which slot. Pure: replies in, values out. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include <hiredis/hiredis.h>

#include "src/base/status.h"
#include "src/store/redis/slots.h"
#include "src/store/redis/url.h"

enum { SC_MASTERS_MAX = 128, SC_SEEDS_MAX = 16, SC_OWNER_NONE = 255 };

typedef struct {
    char     host[SC_REDIS_HOST_BYTES];
    uint16_t port;
} sc_node;

bool sc_node_equal(const sc_node *a, const sc_node *b);

typedef struct {
    sc_node     nodes[SC_MASTERS_MAX]; /* [masters]; each owns a slot */
    sc_slot_set owned[SC_MASTERS_MAX];
    size_t      masters;
    uint8_t     owner[SC_SLOTS]; /* index of a master, or SC_OWNER_NONE */
} sc_slot_table;

void sc_slot_table_init(sc_slot_table *table);

/* Reads the reply to CLUSTER SLOTS. A node without a host is the one that was asked.
 * Errors: SC_CORRUPT when it is no such thing, SC_TOO_LARGE for too many masters. */
SC_MUST_CHECK sc_status sc_slot_table_read(const redisReply *reply, const char *asked,
                                           sc_slot_table *out);

/* Reads "MOVED <slot> <host>:<port>"; an empty host is the one that was asked. */
bool sc_moved_read(sc_str text, const char *asked, uint16_t *slot, sc_node *to);

/* Reads REDIS_URL: a URL, and further host:port after commas, with the same user, password and TLS.
 * Errors: SC_INVALID; the text never shows the URL. */
SC_MUST_CHECK sc_status sc_seeds_read(sc_str text, sc_redis_url seeds[SC_SEEDS_MAX], size_t *count,
                                      sc_error *error);
