/* conn.h - a connection to Redis that keeps itself alive.
 *
 * Commands are answered in order. All that is sent in one turn of the loop leaves in one write.
 * A command whose deadline passes fails at once; the connection stays, and its late reply is
 * skipped. When nothing at all comes for `hang_ms` although replies are due, the connection is
 * broken off. A broken one fails every command on it and is dialled again, with jittered
 * back-off, for ever.
 *
 * Threads: all calls and callbacks on the loop's thread. */
#pragma once

#include <uv.h>

#include <hiredis/hiredis.h>

#include "src/base/clock.h"
#include "src/base/status.h"
#include "src/base/str.h"
#include "src/store/redis/url.h"
#include "src/store/redis/wire.h"

typedef struct sc_conn sc_conn;

/* One command, or several that are sent and answered as one; embedded in what waits for it. */
typedef struct sc_command {
    sc_instant deadline;
    size_t     replies; /* still to come; 0 in reply(): this was the last */
    /* Borrows reply for the call. */
    void (*reply)(struct sc_command *command, const redisReply *reply);
    /* Instead of all replies still to come: SC_TIMEOUT, SC_UNAVAILABLE or SC_CANCELLED. */
    void (*failed)(struct sc_command *command, sc_status status, const char *why);
} sc_command;

typedef struct {
    uv_loop_t          *loop;
    const char         *role; /* for CLIENT SETNAME and logs */
    const sc_redis_url *url;
    sc_tls             *tls;         /* NULL: plain */
    bool                quiet_reads; /* CLIENT NO-TOUCH: what it reads does not count as used */
    int64_t             dial_ms_max;
    int64_t             hang_ms;
    size_t              reply_bytes_max;
    size_t              waiting_max; /* commands */
    void               *context;
    void (*up)(void *context, sc_conn *conn);
    void (*down)(void *context, sc_conn *conn); /* was up; commands have failed already */
    void (*push)(void *context, sc_conn *conn,
                 const redisReply *reply); /* no command waited for it */
} sc_conn_options;

/* Borrows url, tls and role for the connection's life. Begins to dial in the loop's next turn.
 * Errors: SC_NO_MEMORY, SC_UNAVAILABLE. */
SC_MUST_CHECK sc_status sc_conn_open(const sc_conn_options *options, sc_conn **out);

/* Fails what waits with SC_CANCELLED and frees everything within the loop's next turns. NULL is
 * welcome. */
void sc_conn_close(sc_conn *conn);

bool        sc_conn_is_up(const sc_conn *conn);
const char *sc_conn_problem(const sc_conn *conn); /* why it is not up; "" when it is */
bool        sc_conn_denied(const sc_conn *conn);  /* because of user or password */
size_t      sc_conn_waiting(const sc_conn *conn);
uint64_t    sc_conn_dials(const sc_conn *conn); /* times it came up */
sc_instant  sc_conn_heard(const sc_conn *conn); /* when bytes last came */

/* Sends bytes, which hold command->replies commands. Copies bytes; keeps command until its last
 * reply() or failed(). On an error neither is called.
 * Errors: SC_UNAVAILABLE when it is not up, SC_BUSY when too much waits, SC_NO_MEMORY. */
SC_MUST_CHECK sc_status sc_conn_send(sc_conn *conn, sc_command *command, sc_str bytes);

/* Sends bytes whose replies come through push(). */
SC_MUST_CHECK sc_status sc_conn_send_blind(sc_conn *conn, sc_str bytes);

/* Breaks it off and dials anew. Welcome in callbacks. */
void sc_conn_break(sc_conn *conn, const char *why);
