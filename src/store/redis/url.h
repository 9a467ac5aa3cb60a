/* url.h - where a Redis is and who we are there. Pure; holds a password, so it is never printed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/base/status.h"
#include "src/base/str.h"

enum { SC_REDIS_HOST_BYTES = 256, SC_REDIS_SECRET_BYTES = 512 };

typedef struct {
    bool     tls;
    uint16_t port;
    char     host[SC_REDIS_HOST_BYTES];
    char     user[SC_REDIS_SECRET_BYTES];     /* "": the default user */
    char     password[SC_REDIS_SECRET_BYTES]; /* "": no AUTH */
} sc_redis_url;

/* Reads redis://[user][:password]@host[:port][/0], or rediss:// for TLS; user and password
 * percent-encoded, an IPv6 address in brackets.
 * Errors: SC_INVALID; the text names the faulty part, never the URL. *out is undefined then. */
SC_MUST_CHECK sc_status sc_redis_url_parse(sc_str text, sc_redis_url *out, sc_error *error);
