/* codec.h - an entry as the fields of a HASH, and back. Pure.
 *
 * What one may want to read with redis-cli (prompt, canonical, answer) and what changes the
 * meaning of a hit (ver, exp) are fields of their own; all else travels in one binary field
 * `meta`, since each further field of a HASH costs about 100 bytes and a look-up per read. */
#pragma once

#include <stdbool.h>

#include "src/base/buf.h"
#include "src/store/redis/schema.h"

/* Names of the stored fields, in the order of sc_redis_fields. HMGET of the first
 * SC_REDIS_ENTRY_FIELDS gives an entry, of all an entry with its vector. */
enum { SC_REDIS_ENTRY_FIELDS = 6, SC_REDIS_ALL_FIELDS = 7 };
extern const char *const sc_redis_field_names[SC_REDIS_ALL_FIELDS];

/* The values as they were read; ptr NULL: the field is missing. */
typedef struct {
    sc_str version, expires, meta, prompt, canonical, answer, vector;
} sc_redis_fields;

/* The value whose name has that number. */
sc_str *sc_redis_field(sc_redis_fields *fields, size_t number);

/* Reads the values of an HMGET of the first `count` names, or of fewer (the rest is missing).
 * False: not an array of that many strings and nils. All nil: *absent. */
bool sc_redis_fields_read(const redisReply *reply, size_t count, sc_redis_fields *out,
                          bool *absent);

/* The version and expiry alone. */
bool sc_redis_version_read(sc_str text, uint64_t *version);
bool sc_redis_expires_read(sc_str text, sc_wall *expires);

/* Gives a new entry with one reference. id: of the key it was found under; an entry copied there
 * from another key is refused.
 * Errors: SC_CORRUPT: not written by us; SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_redis_entry_decode(const sc_redis_fields *fields, const sc_digest *id,
                                              sc_entry **out);

/* Writes MULTI, [HDEL v,] HSET, PEXPIREAT, EXEC: readers and the feed see all of it or nothing.
 * vector NULL: none is stored, and one that was there goes. Gives the number of replies to come. */
size_t sc_redis_entry_encode(const sc_redis_schema *schema, const sc_entry_fields *entry,
                             const float *vector, sc_buf *out);
