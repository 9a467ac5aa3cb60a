/* wire.h - one socket to Redis, with or without TLS, that never blocks and never raises SIGPIPE.
 *
 * hiredis' own transport was not used: it blocks or wants an event adapter, its contexts are dead
 * after one timeout, and the version at hand has no TLS. One thread, in which SIGPIPE is blocked
 * (OpenSSL writes with write()). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "src/base/status.h"

typedef struct sc_tls  sc_tls; /* what all connections of a store share */
typedef struct sc_wire sc_wire;

/* TLS 1.2 or later, the server's certificate checked against ca_file, or the system's when NULL.
 * Errors: SC_INVALID for a file that cannot be read, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_tls_open(const char *ca_file, sc_tls **out, sc_error *error);
void                    sc_tls_close(sc_tls *tls);

typedef enum {
    SC_WIRE_DONE,
    SC_WIRE_WANTS_READ,  /* call again when the socket is readable */
    SC_WIRE_WANTS_WRITE, /* ... writable */
    SC_WIRE_BROKEN,      /* closed by the peer, or an error: sc_wire_problem() */
} sc_wire_state;

/* Begins to connect. tls NULL: plain. host is what the certificate must be for.
 * Gives *out also on failure of the connect itself, which _greet then reports; NULL without memory
 * or descriptors. */
sc_wire *sc_wire_open(const struct sockaddr *address, sc_tls *tls, const char *host);
void     sc_wire_close(sc_wire *wire);
int      sc_wire_fd(const sc_wire *wire);

/* Goes on with connect and TLS handshake; DONE: bytes may flow. */
sc_wire_state sc_wire_greet(sc_wire *wire);

/* Moves what can be moved; *moved bytes (0 unless DONE). */
sc_wire_state sc_wire_read(sc_wire *wire, char *out, size_t room, size_t *moved);
sc_wire_state sc_wire_write(sc_wire *wire, const char *bytes, size_t len, size_t *moved);

/* One line for the log. */
const char *sc_wire_problem(const sc_wire *wire);
