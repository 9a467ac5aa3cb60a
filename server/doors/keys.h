/* keys.h - the API keys file: bytes in, tables out; no file, no clock.
 *
 *   # comment
 *   tenant acme rate=100 burst=200 inflight=50 ttl_seconds=86400 max_distance=0.2
 *   tenant shop entries=100000 bytes=1000000000
 *   key    acme 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 answer,store,stats
 *   san    acme spiffe://corp.example/shop answer
 *
 * A key stands there as its SHA-256 in hex: `printf %s "$KEY" | sha256sum`. A tenant line comes
 * before the keys of its tenant; every limit on it may be left out. Names are 1 to 64 of
 * [A-Za-z0-9_.-]. Rights: answer store invalidate stats admin, or all. */
#pragma once

#include <stdint.h>

#include "src/base/hash.h"
#include "src/base/status.h"
#include "src/base/str.h"

enum {
    SC_KEYS_FILE_BYTES_MAX = 1 << 20,
    SC_KEYS_MAX = 1024,
    SC_TENANTS_MAX = 1024,
    SC_TENANT_BYTES_MAX = 64,
    SC_SAN_BYTES_MAX = 256,
};

/* What a caller may do; a set. */
typedef enum {
    SC_RIGHT_ANSWER = 1,
    SC_RIGHT_STORE = 2, /* answers given to it are kept; without: as cache mode NO_STORE */
    SC_RIGHT_INVALIDATE = 4,
    SC_RIGHT_STATS = 8,
    SC_RIGHT_ADMIN = 16, /* what concerns every tenant: invalidate all, reflection of settings */
    SC_RIGHT_ALL = 31,
} sc_right;

typedef struct {
    double   rate;         /* requests per second; 0: unlimited */
    double   burst;        /* that may come at once; at least 1 */
    uint32_t inflight_max; /* 0: unlimited */
    int64_t  ttl_seconds_max; /* 0: the server's */
    double   distance_max; /* the loosest threshold; 2: any */
    uint64_t entries_max;  /* kept in the store; 0: unlimited */
    uint64_t bytes_max;    /* of those, with their vectors, as memory holds them; 0: unlimited */
} sc_tenant_limits;

typedef struct {
    char             name[SC_TENANT_BYTES_MAX + 1];
    sc_tenant_limits limits;
} sc_tenant_row;

typedef struct {
    uint32_t  tenant; /* in tenants */
    unsigned  rights;
    sc_digest hash;                      /* of the key, unless san is set */
    char      san[SC_SAN_BYTES_MAX + 1]; /* "" : a key */
} sc_key_row;

typedef struct {
    sc_tenant_row *tenants; /* [tenants_count] */
    size_t         tenants_count;
    sc_key_row    *keys; /* [keys_count] */
    size_t         keys_count;
} sc_keys;

/* Fills *keys, to be freed with sc_keys_fini also after an error.
 * Errors: SC_INVALID with the line number (never its content), SC_TOO_LARGE, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_keys_parse(sc_str text, sc_keys *keys, sc_error *error);
void                    sc_keys_fini(sc_keys *keys);
