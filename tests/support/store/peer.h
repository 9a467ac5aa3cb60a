/* peer.h - a server that speaks as much of Redis' protocol as a test lets it, and as wrongly.
 *
 * It listens on a free port of 127.0.0.1; one thread serves all connections. */
#pragma once

#include <stdbool.h>

#include <hiredis/hiredis.h>

#include "src/base/buf.h"

typedef struct sc_test_peer sc_test_peer;

typedef enum { SC_PEER_GO_ON, SC_PEER_CUT } sc_test_peer_then;

/* Answers one command, an array of words, by writing any bytes to out. On the peer's thread. */
typedef sc_test_peer_then (*sc_test_peer_script)(void *context, const redisReply *command,
                                                 sc_buf *out);

sc_test_peer *sc_test_peer_start(sc_test_peer_script script, void *context);
void          sc_test_peer_stop(sc_test_peer *peer);

/* "redis://127.0.0.1:port" */
const char *sc_test_peer_url(const sc_test_peer *peer);

/* Is this the command's first word? */
bool sc_test_peer_is(const redisReply *command, const char *name);
