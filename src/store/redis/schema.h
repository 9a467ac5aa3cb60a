/* schema.h - how things are named in Redis, and the index over them. Pure.
 *
 * Every name follows from the settings, so servers with different settings never disturb each
 * other: another model, dimension or number type has another key prefix, any other index
 * parameter another index. TAG values are the hex of a hash: RediSearch treats commas, blanks
 * and NUL in raw values in ways that would mix tenants. */
#pragma once

#include <hiredis/hiredis.h>

#include "src/base/buf.h"
#include "src/entry/entry.h"
#include "src/store/redis/redis.h"

enum { SC_REDIS_NAME_BYTES = 96, SC_REDIS_KEY_BYTES = SC_REDIS_NAME_BYTES + SC_DIGEST_HEX_BYTES };
enum { SC_REDIS_TAG_BYTES = 33 }; /* hex and NUL */

typedef struct {
    char     prefix[SC_REDIS_NAME_BYTES]; /* <namespace>:v1:<model hash>: */
    size_t   prefix_len;
    char     everyone[SC_REDIS_NAME_BYTES]; /* <namespace>:v1:* , entries of other models too */
    char     mine[SC_REDIS_NAME_BYTES];     /* <prefix>* */
    char     index[SC_REDIS_NAME_BYTES];    /* <namespace>:idx:<schema hash>[:{tag}] */
    char     used[SC_REDIS_NAME_BYTES];     /* ZSET: id to the last time it was served */
    char     sweeper[SC_REDIS_NAME_BYTES];  /* lock of the one server that prunes */
    int      tag; /* in a cluster, what keeps these three on one master; else -1 */
    uint32_t dim, m, ef_construction;
    bool     half, flat;
    int64_t  stale_ms; /* an entry stays so long after it expired; no part of the index's identity */
} sc_redis_schema;

/* Errors: SC_INVALID for a bad namespace, dimension or model. */
SC_MUST_CHECK sc_status sc_redis_schema_make(const sc_redis_options *options, sc_redis_schema *out,
                                             sc_error *error);

/* Renames index, ZSET and lock for one of a cluster's masters: a key lies where its tag says. */
void sc_redis_schema_retag(sc_redis_schema *schema, int tag);

/* The tag in the name of an index that differs from ours by nothing else; -1: it is another. */
int sc_redis_schema_tag_of(const sc_redis_schema *schema, sc_str index);

/* The key of an entry of ours; gives its length, without the NUL. */
size_t sc_redis_schema_key(const sc_redis_schema *schema, const sc_digest *id,
                           char out[SC_REDIS_KEY_BYTES]);

/* Reads the id at the end of a key of this namespace; *mine: it is under our prefix. */
bool sc_redis_schema_id(const sc_redis_schema *schema, sc_str key, sc_digest *id, bool *mine);

/* FT.CREATE. */
void sc_redis_schema_create(const sc_redis_schema *schema, sc_buf *out);

void sc_redis_tag_text(sc_str value, char out[SC_REDIS_TAG_BYTES]);
void sc_redis_tag_digest(const sc_digest *digest, char out[SC_REDIS_TAG_BYTES]);
void sc_redis_tag_guard(uint64_t guard, char out[SC_REDIS_TAG_BYTES]);

/* What FT.INFO says of an index. */
typedef struct {
    bool     fits;        /* it is the index that FT.CREATE would have made */
    char     problem[96]; /* else: the first difference */
    uint64_t documents, failures;
    double   percent_indexed;
} sc_redis_index;

/* Errors: SC_CORRUPT when the reply is not of FT.INFO's shape. */
SC_MUST_CHECK sc_status sc_redis_schema_check(const sc_redis_schema *schema, const redisReply *info,
                                              sc_redis_index *out);
