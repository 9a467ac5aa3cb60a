/* client.h - calls a gRPC server: bytes out, bytes and a status in.
 *
 * Knows no message; whoever calls packs and unpacks. A client owns one thread and one
 * connection (open several for more of either). Calls may be started from any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"

typedef struct sc_client sc_client;
typedef struct sc_client_call sc_client_call;

typedef struct {
    const char *target;  /* "127.0.0.1:50051", "unix:/run/x.sock", "dns:///host:port" */
    bool        tls;
    const char *ca_file; /* PEM; NULL: the system's authorities */
    const char *cert_file, *key_file; /* PEM; for servers that ask for a certificate */
    const char *server_name;          /* checked instead of the target's host; NULL: that */
    const char *token;                /* sent as `authorization: Bearer <token>`; NULL: none */
    size_t      reply_bytes_max;      /* 0: 64 MiB */
} sc_client_options;

/* Connects with the first call. Copies the options.
 * Errors: SC_INVALID for a file that cannot be read, SC_NO_MEMORY, SC_UNAVAILABLE (no thread). */
SC_MUST_CHECK sc_status sc_client_open(const sc_client_options *options, sc_client **out,
                                       sc_error *error);

/* Waits for calls under way. NULL is welcome. Not from a `done`. */
void sc_client_close(sc_client *client);

enum { SC_CLIENT_TEXT_BYTES = 1024 };

/* How a call went. */
typedef struct {
    int     code;            /* gRPC's number; 0: OK */
    char    text[SC_CLIENT_TEXT_BYTES]; /* the server's sentence, or the transport's */
    int64_t retry_after_ms;  /* of the trailing metadata; 0: none */
    sc_str  message;         /* OK only; lent until the call is started again or closed */
} sc_client_reply;

/* A call that can be made over and over, one at a time. done runs on the client's thread, must
 * not block, and may start the call again. */
SC_MUST_CHECK sc_status sc_client_call_open(sc_client *client, const char *path,
                                            void (*done)(sc_client_call *call, void *context),
                                            void *context, sc_client_call **out);

/* Not while it is under way. NULL is welcome. */
void sc_client_call_close(sc_client_call *call);

/* Sends request (copied). done follows exactly once. wait: until there is a connection, else a
 * server that is away fails the call at once. */
void sc_client_call_start(sc_client_call *call, sc_str request, sc_instant deadline, bool wait);

/* Gives up a call under way; done follows with code 1. Nothing without one. Any thread. */
void sc_client_call_cancel(sc_client_call *call);

const sc_client_reply *sc_client_call_reply(const sc_client_call *call);

/* One call, waited for. On OK gives *message (malloc'd) and its length.
 * Errors: the status that the code stands for, the text in *error; *retry_after_ms may be NULL. */
SC_MUST_CHECK sc_status sc_client_ask(sc_client *client, const char *path, sc_str request,
                                      int64_t timeout_ms, char **message, size_t *len,
                                      int64_t *retry_after_ms, sc_error *error);

/* "RESOURCE_EXHAUSTED" for 8. Never NULL. */
const char *sc_client_code_name(int code);
sc_status   sc_client_code_status(int code);
