/* status.h - how a call went, as a value.
 *
 * A status says what the caller can do about a failure; the sentence for a human
 * is an sc_error, carried beside it. Mistakes of ours are assertions instead. */
#pragma once

#define SC_MUST_CHECK __attribute__((warn_unused_result))
#define SC_PRINTF(at, first) __attribute__((format(printf, at, first)))

typedef enum {
    SC_OK = 0,
    SC_INVALID,           /* the caller's input: field, problem and bound are in the error text */
    SC_NOT_FOUND,         /* an ordinary absence */
    SC_EXISTS,            /* it is there already */
    SC_MISMATCH,          /* two parts do not fit: dimension, schema, hash */
    SC_CORRUPT,           /* bytes from outside are not of the promised shape */
    SC_TOO_LARGE,         /* a stated bound would be passed */
    SC_NO_MEMORY,
    SC_BUSY,              /* a queue or limit is full; trying again later may help */
    SC_UNAVAILABLE,       /* a dependency is away or refuses */
    SC_TIMEOUT,           /* a deadline passed */
    SC_CANCELLED,         /* nobody waits for it any more */
    SC_UNAUTHENTICATED,   /* no caller could be recognised */
    SC_PERMISSION_DENIED, /* the caller is known, and may not */
    SC_UNSUPPORTED,       /* not to be had with this build, model or server */
    SC_INTERNAL,
    SC_STATUS_COUNT
} sc_status;

/* Lower-case name of a status, as logs and metrics show it. Never NULL. */
const char *sc_status_name(sc_status status);

enum { SC_ERROR_TEXT_BYTES = 256 };

/* What went wrong, in one line for a human. Zero-initialised is "nothing". */
typedef struct {
    sc_status status;
    char      text[SC_ERROR_TEXT_BYTES];
} sc_error;

/* Fills *error (NULL is welcome) and returns status, so that a failure is one line:
 *   return sc_fail(error, SC_INVALID, "ttl_ms: %lld is over %lld", ttl, max);
 * A longer text is cut. Secrets and prompts do not belong in it. */
sc_status sc_fail(sc_error *error, sc_status status, const char *format, ...) SC_PRINTF(3, 4);
