/* reply.h - what Redis' replies mean. Pure: replies in, values out; fuzzed. */
#pragma once

#include <stdbool.h>

#include <hiredis/hiredis.h>

#include "src/base/status.h"
#include "src/store/redis/codec.h"

typedef enum {
    SC_FAULT_NONE,   /* not an error */
    SC_FAULT_AWAY,   /* LOADING, BUSY, READONLY, CLUSTERDOWN ...: later, nothing of ours is wrong */
    SC_FAULT_FULL,   /* OOM: what was to be written is not kept */
    SC_FAULT_DENIED, /* NOAUTH, WRONGPASS, NOPERM: somebody has to change a setting */
    SC_FAULT_NO_INDEX,        /* to be made anew */
    SC_FAULT_UNKNOWN_COMMAND, /* a server without the module or the feature */
    SC_FAULT_FOREIGN,         /* WRONGTYPE: another program's value under our key */
    SC_FAULT_MOVED,           /* the key's slot is another master's */
    SC_FAULT_ASK,             /* the slot is on its way, and the key is not here any more */
    SC_FAULT_OTHER,
} sc_redis_fault;

sc_redis_fault sc_redis_fault_of(const redisReply *reply);
sc_status      sc_redis_fault_status(sc_redis_fault fault);

/* The error text of a reply, "" for any other; cut to a line of out's size. */
void sc_redis_fault_text(const redisReply *reply, char *out, size_t room);

/* The worst error in the reply to EXEC or in one of its elements. */
sc_redis_fault sc_redis_exec_fault(const redisReply *reply);

/* One row of FT.SEARCH ... RETURN d and the entry's fields. */
typedef struct {
    sc_str          key;
    sc_redis_fields fields;
    float           distance; /* 0..2, or NaN */
} sc_redis_row;

/* Steps through the rows: start with *at = 1; false at the end, or when the reply is no such thing.
 * A document that expired but is not yet gone has only a key. */
bool sc_redis_next_row(const redisReply *reply, size_t *at, sc_redis_row *row);

/* How many rows the search found, by its own count: some servers leave out what expired. 0: no such
 * reply. */
size_t sc_redis_rows_found(const redisReply *reply);

/* Reads [cursor, keys] of a SCAN. NULL: another shape. The cursor is "0" at the end. */
const redisReply *sc_redis_scan_keys(const redisReply *reply, sc_str *cursor);

typedef enum {
    SC_PUSH_OTHER,   /* a pong, or something not for us */
    SC_PUSH_KEYS,    /* these keys changed or went */
    SC_PUSH_CLEARED, /* all keys went */
} sc_redis_push;

/* What a message on the subscribed connection says; *keys receives the array of changed keys. */
sc_redis_push sc_redis_push_read(const redisReply *reply, const redisReply **keys);
