/* One uv_timer serves every delay of a connection: back-off, dialling, the earliest deadline.
 * Deadlines are not kept sorted. They nearly all have the same length, so the earliest is at or
 * near the front; a pass over the ring when the timer fires costs less than a heap at every
 * command. */
#include "src/store/redis/conn.h"

#include <assert.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/base/buf.h"
#include "src/base/log.h"
#include "src/base/random.h"
#include "src/store/redis/reply.h"
#include "src/store/redis/resp.h"

enum {
    BACKOFF_MS_MIN = 50,
    BACKOFF_MS_MAX = 1000,
    BACKOFF_MS_DENIED = 10000, /* a wrong password does not get right by asking often */
    READ_BYTES = 64 * 1024,
    READS_PER_TURN = 16, /* other connections want to be heard as well */
    OUT_BYTES_MAX = 256 * 1024 * 1024,
    OUT_BYTES_KEPT = 1024 * 1024, /* a larger buffer is given back when it is empty */
    TIMER_MS_MIN = 2,
    PROBLEM_BYTES = 200,
};

typedef enum { WAITING, RESOLVING, CONNECTING, GREETING, UP, CLOSED } stage;

typedef struct {
    sc_command *command; /* NULL: it timed out, its replies are skipped */
    size_t      replies;
} slot;

/* A socket and its watcher live and die together, apart from the connection: uv_close ends in a
 * later turn, when the next socket may be open already. */
typedef struct {
    uv_poll_t poll;
    sc_wire  *wire;
    sc_conn  *conn; /* NULL: given up */
} watched;

typedef struct {
    uv_getaddrinfo_t request;
    sc_conn         *conn; /* NULL: given up */
} resolution;

struct sc_conn {
    /* Fixed by open. */
    sc_conn_options options;
    sc_command      greeting;

    stage            at;
    uv_timer_t       timer;
    uv_prepare_t     flusher;
    unsigned         closing; /* handles that still close */
    resolution      *resolving;
    struct addrinfo *addresses, *next_address;
    watched         *socket;
    redisReader     *reader;
    size_t           reply_bytes; /* read since the last whole reply: parsed elements take memory too */
    uint64_t   epoch; /* of the socket: callbacks may break the connection under a parser's feet */
    int64_t    backoff_ms;
    sc_instant dialled;
    sc_instant heard;
    sc_instant due_since; /* when the oldest unanswered command was sent */
    uint64_t   dials;
    bool       denied;
    bool       wants_write;
    bool       quiet_failures; /* the same problem was logged already */
    char       problem[PROBLEM_BYTES];

    sc_buf out;
    size_t out_sent;

    slot  *slots; /* [slots_room], a ring; room is a power of two */
    size_t slots_room, slots_first, slots_used;
    size_t commands; /* slots not yet failed */
};

static void dial(sc_conn *conn);
static void arm(sc_conn *conn);
static void break_off(sc_conn *conn, const char *why);

/* --- the ring of commands waiting for replies ------------------------------------------ */

static slot *slot_at(sc_conn *conn, size_t index)
{
    return &conn->slots[(conn->slots_first + index) & (conn->slots_room - 1)];
}

static bool grow_slots(sc_conn *conn)
{
    size_t room = conn->slots_room == 0 ? 64 : conn->slots_room * 2;
    slot  *slots;

    if (conn->slots_used < conn->slots_room)
        return true;
    slots = calloc(room, sizeof *slots);
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < conn->slots_used; i++)
        slots[i] = *slot_at(conn, i);
    free(conn->slots);
    conn->slots = slots;
    conn->slots_room = room;
    conn->slots_first = 0;
    return true;
}

static void push_slot(sc_conn *conn, sc_command *command)
{
    if (conn->slots_used == 0)
        conn->due_since = sc_now();
    *slot_at(conn, conn->slots_used++) = (slot){command, command->replies};
    conn->commands++;
}

static void pop_slot(sc_conn *conn)
{
    conn->slots_first = (conn->slots_first + 1) & (conn->slots_room - 1);
    conn->slots_used--;
}

/* Takes a slot's command away from it. */
static sc_command *disown(sc_conn *conn, slot *of)
{
    sc_command *command = of->command;
    if (command != NULL)
        conn->commands--;
    of->command = NULL;
    return command;
}

static void fail_all(sc_conn *conn, sc_status status, const char *why)
{
    /* What callbacks send meanwhile is refused: the connection is not up any more. */
    while (conn->slots_used != 0) {
        sc_command *command = disown(conn, slot_at(conn, 0));
        pop_slot(conn);
        if (command != NULL)
            command->failed(command, status, why);
    }
}

static void fail_late(sc_conn *conn, sc_instant now)
{
    for (size_t i = 0; i < conn->slots_used; i++) {
        slot *of = slot_at(conn, i);
        if (of->command == NULL || sc_instant_before(now, of->command->deadline))
            continue;
        sc_command *command = disown(conn, of);
        command->failed(command, SC_TIMEOUT, "no reply from Redis in time");
    }
}

static void hand_over(sc_conn *conn, const redisReply *reply)
{
    if (conn->slots_used == 0) {
        if (conn->options.push != NULL && conn->at == UP)
            conn->options.push(conn->options.context, conn, reply);
        return;
    }
    slot       *of = slot_at(conn, 0);
    sc_command *command = of->command;
    if (--of->replies == 0) {
        disown(conn, of);
        pop_slot(conn);
    }
    if (command != NULL) {
        command->replies--;
        command->reply(command, reply);
    }
}

/* --- reading and writing --------------------------------------------------------------- */

static void on_socket(uv_poll_t *poll, int status, int events);

static void watch(sc_conn *conn, bool write)
{
    int events = UV_READABLE | (write ? UV_WRITABLE : 0);

    conn->wants_write = write;
    if (uv_poll_start(&conn->socket->poll, events, on_socket) != 0)
        break_off(conn, "the socket cannot be watched");
}

static void trim_out(sc_conn *conn)
{
    conn->out_sent = 0;
    if (conn->out.room > OUT_BYTES_KEPT)
        sc_buf_fini(&conn->out);
    else
        sc_buf_clear(&conn->out);
}

static void flush(sc_conn *conn)
{
    while (conn->out_sent < conn->out.len) {
        size_t        moved;
        sc_wire_state state = sc_wire_write(conn->socket->wire, conn->out.data + conn->out_sent,
                                            conn->out.len - conn->out_sent, &moved);
        if (state == SC_WIRE_BROKEN) {
            break_off(conn, sc_wire_problem(conn->socket->wire));
            return;
        }
        if (state != SC_WIRE_DONE) {
            /* TLS may want to read first, which is always watched. */
            if (state == SC_WIRE_WANTS_WRITE && !conn->wants_write)
                watch(conn, true);
            return;
        }
        conn->out_sent += moved;
    }
    trim_out(conn);
    if (conn->wants_write)
        watch(conn, false);
}

static void on_prepare(uv_prepare_t *flusher)
{
    sc_conn *conn = flusher->data;
    if ((conn->at == UP || conn->at == GREETING) && conn->out.len != 0 && !conn->wants_write)
        flush(conn);
}

/* False: the connection is another one now, or none. */
static bool parse(sc_conn *conn)
{
    uint64_t epoch = conn->epoch;

    for (;;) {
        void *reply = NULL;
        if (redisReaderGetReply(conn->reader, &reply) != REDIS_OK) {
            break_off(conn, "Redis sent something that is no reply");
            return false;
        }
        if (reply == NULL)
            break;
        hand_over(conn, reply);
        freeReplyObject(reply);
        conn->reply_bytes = 0;
        if (epoch != conn->epoch)
            return false;
    }
    if (conn->reply_bytes > conn->options.reply_bytes_max) {
        break_off(conn, "a reply is too large");
        return false;
    }
    return true;
}

static void read_some(sc_conn *conn)
{
    static _Thread_local char bytes[READ_BYTES];

    /* TLS may hold bytes that the socket no longer shows, so it is read until it has none. */
    for (int i = 0; i < READS_PER_TURN || conn->options.tls != NULL; i++) {
        size_t        moved;
        sc_wire_state state = sc_wire_read(conn->socket->wire, bytes, sizeof bytes, &moved);
        if (state == SC_WIRE_BROKEN) {
            break_off(conn, sc_wire_problem(conn->socket->wire));
            return;
        }
        if (state != SC_WIRE_DONE)
            return;
        conn->heard = sc_now();
        conn->reply_bytes += moved;
        if (redisReaderFeed(conn->reader, bytes, moved) != REDIS_OK) {
            break_off(conn, "no memory for a reply");
            return;
        }
        if (!parse(conn))
            return;
        /* A short read has emptied a plain socket. */
        if (conn->options.tls == NULL && moved < sizeof bytes)
            return;
    }
}

/* --- connecting ------------------------------------------------------------------------ */

static void came_up(sc_conn *conn)
{
    conn->at = UP;
    conn->backoff_ms = BACKOFF_MS_MIN;
    conn->dials++;
    conn->denied = false;
    conn->quiet_failures = false;
    conn->problem[0] = '\0';
    sc_log(SC_LOG_DEBUG, "redis.connection_up", sc_kv_text("role", conn->options.role),
           sc_kv_text("host", conn->options.url->host), sc_kv_int("port", conn->options.url->port));
    conn->options.up(conn->options.context, conn);
    arm(conn);
}

/* AUTH (if any), SETNAME, NO-TOUCH (if any), PING: only the first and the last must succeed. A
 * restricted user or an old server may not know the others. */
static void on_greeting(sc_command *command, const redisReply *reply)
{
    sc_conn       *conn = SC_CONTAINER(command, sc_conn, greeting);
    sc_redis_fault fault = sc_redis_fault_of(reply);
    char           text[PROBLEM_BYTES];

    if (fault == SC_FAULT_AWAY ||
        (fault == SC_FAULT_DENIED && strncmp(reply->str, "NOPERM", 6) != 0) ||
        (fault != SC_FAULT_NONE && command->replies == 0)) {
        sc_redis_fault_text(reply, text, sizeof text);
        conn->denied = fault == SC_FAULT_DENIED;
        break_off(conn, text);
    } else if (command->replies == 0) {
        came_up(conn);
    }
}

static void on_greeting_failed(sc_command *command, sc_status status, const char *why)
{
    /* The connection breaks anyhow, or dialling runs out of time. */
    (void)command;
    (void)status;
    (void)why;
}

static void put_word_pair(sc_conn *conn, const char *const *words)
{
    sc_resp_words(&conn->out, words);
    conn->greeting.replies++;
}

static void greet(sc_conn *conn)
{
    const sc_redis_url *url = conn->options.url;
    char                name[64];

    snprintf(name, sizeof name, "semcached-%s", conn->options.role);
    conn->greeting.replies = 0;
    if (url->password[0] != '\0' && url->user[0] != '\0')
        put_word_pair(conn, (const char *const[]){"AUTH", url->user, url->password, NULL});
    else if (url->password[0] != '\0')
        put_word_pair(conn, (const char *const[]){"AUTH", url->password, NULL});
    put_word_pair(conn, (const char *const[]){"CLIENT", "SETNAME", name, NULL});
    if (conn->options.quiet_reads)
        put_word_pair(conn, (const char *const[]){"CLIENT", "NO-TOUCH", "ON", NULL});
    put_word_pair(conn, (const char *const[]){"PING", NULL});
    conn->greeting.deadline = SC_INSTANT_NEVER;
    conn->at = GREETING;
    if (!grow_slots(conn) || conn->out.failed != SC_OK) {
        break_off(conn, "no memory");
        return;
    }
    push_slot(conn, &conn->greeting);
}

static void go_on_connecting(sc_conn *conn)
{
    uint64_t epoch = conn->epoch;

    switch (sc_wire_greet(conn->socket->wire)) {
    case SC_WIRE_DONE:
        watch(conn, false);
        if (epoch == conn->epoch)
            greet(conn);
        break;
    case SC_WIRE_WANTS_READ:
        watch(conn, false);
        break;
    case SC_WIRE_WANTS_WRITE:
        watch(conn, true);
        break;
    case SC_WIRE_BROKEN:
        break_off(conn, sc_wire_problem(conn->socket->wire));
        break;
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    watched *socket = poll->data;
    sc_conn *conn = socket->conn;
    (void)status; /* An error shows again, with its text, in the next read or write. */

    if (conn == NULL)
        return;
    if (conn->at == CONNECTING) {
        go_on_connecting(conn);
        return;
    }
    uint64_t epoch = conn->epoch;
    if ((events & UV_WRITABLE) != 0 && conn->wants_write) {
        conn->wants_write = false;
        flush(conn);
        if (epoch == conn->epoch && conn->out.len == 0)
            watch(conn, false);
    }
    if (epoch == conn->epoch)
        read_some(conn);
}

static void connect_next(sc_conn *conn)
{
    struct addrinfo *address = conn->next_address;
    watched         *socket = calloc(1, sizeof *socket);

    conn->next_address = address->ai_next;
    conn->reader = sc_resp_reader();
    conn->reply_bytes = 0;
    if (socket != NULL)
        socket->wire = sc_wire_open(address->ai_addr, conn->options.tls, conn->options.url->host);
    if (socket == NULL || socket->wire == NULL || conn->reader == NULL ||
        uv_poll_init(conn->options.loop, &socket->poll, sc_wire_fd(socket->wire)) != 0) {
        if (socket != NULL)
            sc_wire_close(socket->wire);
        free(socket);
        break_off(conn, "no memory or descriptors for a connection");
        return;
    }
    socket->poll.data = socket;
    socket->conn = conn;
    conn->socket = socket;
    conn->at = CONNECTING;
    watch(conn, true);
}

static void free_addresses(sc_conn *conn)
{
    if (conn->addresses != NULL)
        uv_freeaddrinfo(conn->addresses);
    conn->addresses = conn->next_address = NULL;
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *addresses)
{
    resolution *resolving = request->data;
    sc_conn    *conn = resolving->conn;

    free(resolving);
    if (conn == NULL) {
        uv_freeaddrinfo(addresses);
        return;
    }
    conn->resolving = NULL;
    if (status != 0 || addresses == NULL) {
        uv_freeaddrinfo(addresses);
        break_off(conn, status != 0 ? uv_strerror(status) : "the host has no address");
        return;
    }
    conn->addresses = conn->next_address = addresses;
    connect_next(conn);
}

static void dial(sc_conn *conn)
{
    static const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    char                         port[8];

    conn->dialled = sc_now();
    conn->at = RESOLVING;
    arm(conn);
    conn->resolving = calloc(1, sizeof *conn->resolving);
    if (conn->resolving == NULL) {
        break_off(conn, "no memory");
        return;
    }
    conn->resolving->conn = conn;
    conn->resolving->request.data = conn->resolving;
    snprintf(port, sizeof port, "%u", conn->options.url->port);
    int failed = uv_getaddrinfo(conn->options.loop, &conn->resolving->request, on_resolved,
                                conn->options.url->host, port, &hints);
    if (failed != 0) {
        free(conn->resolving);
        conn->resolving = NULL;
        break_off(conn, uv_strerror(failed));
    }
}

/* --- breaking off and closing ---------------------------------------------------------- */

static void on_socket_closed(uv_handle_t *handle)
{
    watched *socket = handle->data;
    sc_wire_close(socket->wire);
    free(socket);
}

static void drop_socket(sc_conn *conn)
{
    conn->epoch++;
    if (conn->resolving != NULL) {
        /* Cannot be stopped once a thread resolves; its end finds nobody. */
        conn->resolving->conn = NULL;
        uv_cancel((uv_req_t *)&conn->resolving->request);
        conn->resolving = NULL;
    }
    if (conn->socket != NULL) {
        conn->socket->conn = NULL;
        uv_close((uv_handle_t *)&conn->socket->poll, on_socket_closed);
        conn->socket = NULL;
    }
    conn->wants_write = false;
    trim_out(conn);
}

static void log_break(sc_conn *conn, bool was_up)
{
    if (!was_up && conn->quiet_failures)
        return;
    conn->quiet_failures = true;
    sc_log(was_up ? SC_LOG_DEBUG : SC_LOG_WARN,
           was_up ? "redis.connection_lost" : "redis.unreachable",
           sc_kv_text("role", conn->options.role), sc_kv_text("host", conn->options.url->host),
           sc_kv_int("port", conn->options.url->port), sc_kv_text("cause", conn->problem));
}

static void wait_for_next_dial(sc_conn *conn)
{
    int64_t most = conn->denied ? BACKOFF_MS_DENIED : conn->backoff_ms;

    conn->at = WAITING;
    conn->dialled = sc_instant_after_ms(sc_now(), sc_random_between(most / 2, most));
    conn->backoff_ms =
        conn->backoff_ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : conn->backoff_ms * 2;
}

/* The parser may be under way further up the stack, so it is freed by whoever opens the next
 * socket. */
static void forget_reader(sc_conn *conn)
{
    if (conn->reader != NULL)
        redisReaderFree(conn->reader);
    conn->reader = NULL;
}

static void break_off(sc_conn *conn, const char *why)
{
    bool was_up = conn->at == UP;
    bool try_next = conn->at == CONNECTING && conn->next_address != NULL;

    if (conn->at == CLOSED || conn->at == WAITING)
        return;
    if (why != conn->problem)
        snprintf(conn->problem, sizeof conn->problem, "%s", why);
    drop_socket(conn);
    conn->at = WAITING;
    if (try_next) {
        forget_reader(conn);
        connect_next(conn);
        return;
    }
    log_break(conn, was_up);
    wait_for_next_dial(conn);
    fail_all(conn, SC_UNAVAILABLE, "the connection to Redis broke");
    if (was_up)
        conn->options.down(conn->options.context, conn);
    arm(conn);
}

static void on_closed(uv_handle_t *handle)
{
    sc_conn *conn = handle->data;

    if (--conn->closing != 0)
        return;
    forget_reader(conn);
    sc_buf_fini(&conn->out);
    free(conn->slots);
    free(conn);
}

void sc_conn_close(sc_conn *conn)
{
    if (conn == NULL)
        return;
    bool was_up = conn->at == UP;
    conn->at = CLOSED;
    drop_socket(conn);
    free_addresses(conn);
    fail_all(conn, SC_CANCELLED, "the store is closing");
    if (was_up)
        conn->options.down(conn->options.context, conn);
    conn->closing = 2;
    uv_close((uv_handle_t *)&conn->timer, on_closed);
    uv_close((uv_handle_t *)&conn->flusher, on_closed);
}

/* --- time ------------------------------------------------------------------------------ */

/* When it will count as hung, if nothing comes until then. */
static sc_instant hung_at(const sc_conn *conn)
{
    bool       heard_later = sc_instant_before(conn->due_since, conn->heard);
    sc_instant since = heard_later ? conn->heard : conn->due_since;
    return conn->slots_used == 0 ? SC_INSTANT_NEVER
                                 : sc_instant_after_ms(since, conn->options.hang_ms);
}

static sc_instant next_event(sc_conn *conn)
{
    sc_instant at = SC_INSTANT_NEVER;

    if (conn->at == WAITING)
        return conn->dialled;
    if (conn->at != UP)
        return sc_instant_after_ms(conn->dialled, conn->options.dial_ms_max);
    for (size_t i = 0; i < conn->slots_used; i++)
        if (slot_at(conn, i)->command != NULL)
            at = sc_instant_earlier(at, slot_at(conn, i)->command->deadline);
    return sc_instant_earlier(at, hung_at(conn));
}

static void on_timer(uv_timer_t *timer)
{
    sc_conn   *conn = timer->data;
    sc_instant now = sc_now();

    if (conn->at == WAITING) {
        if (!sc_instant_before(now, conn->dialled)) {
            forget_reader(conn);
            free_addresses(conn);
            dial(conn);
        }
    } else if (conn->at == UP) {
        fail_late(conn, now);
        if (conn->at == UP && !sc_instant_before(now, hung_at(conn)))
            break_off(conn, "hung: replies are due and nothing comes");
    } else if (sc_elapsed_us(conn->dialled, now) >= conn->options.dial_ms_max * 1000) {
        conn->next_address = NULL;
        break_off(conn, "connecting took too long");
    }
    if (conn->at != CLOSED)
        arm(conn);
}

static void arm_for(sc_conn *conn, sc_instant at)
{
    sc_instant now = sc_now();
    int64_t    wait_ms = sc_remaining_ms(now, at);

    if (at.ns == INT64_MAX) {
        uv_timer_stop(&conn->timer);
        return;
    }
    uv_update_time(conn->options.loop);
    uv_timer_start(&conn->timer, on_timer,
                   (uint64_t)(wait_ms < TIMER_MS_MIN ? TIMER_MS_MIN : wait_ms), 0);
}

static void arm(sc_conn *conn)
{
    if (conn->at != CLOSED)
        arm_for(conn, next_event(conn));
}

/* --- for the store --------------------------------------------------------------------- */

sc_status sc_conn_open(const sc_conn_options *options, sc_conn **out)
{
    sc_conn *conn = calloc(1, sizeof *conn);

    *out = NULL;
    if (conn == NULL)
        return SC_NO_MEMORY;
    conn->options = *options;
    conn->backoff_ms = BACKOFF_MS_MIN;
    conn->greeting.reply = on_greeting;
    conn->greeting.failed = on_greeting_failed;
    sc_buf_init(&conn->out, OUT_BYTES_MAX);
    uv_timer_init(options->loop, &conn->timer);
    uv_prepare_init(options->loop, &conn->flusher);
    conn->timer.data = conn->flusher.data = conn;
    uv_prepare_start(&conn->flusher, on_prepare);
    conn->at = WAITING;
    conn->dialled = sc_now();
    arm(conn);
    *out = conn;
    return SC_OK;
}

bool sc_conn_is_up(const sc_conn *conn)
{
    return conn->at == UP;
}

const char *sc_conn_problem(const sc_conn *conn)
{
    return conn->problem;
}

bool sc_conn_denied(const sc_conn *conn)
{
    return conn->denied;
}

size_t sc_conn_waiting(const sc_conn *conn)
{
    return conn->commands;
}

uint64_t sc_conn_dials(const sc_conn *conn)
{
    return conn->dials;
}

sc_instant sc_conn_heard(const sc_conn *conn)
{
    return conn->heard;
}

static sc_status append(sc_conn *conn, sc_str bytes)
{
    if (conn->at != UP)
        return SC_UNAVAILABLE;
    sc_status status = sc_buf_str(&conn->out, bytes);
    /* The failure sticks to the buffer, but only this command is refused. */
    conn->out.failed = SC_OK;
    return status == SC_TOO_LARGE ? SC_BUSY : status;
}

sc_status sc_conn_send(sc_conn *conn, sc_command *command, sc_str bytes)
{
    assert(command->replies != 0);
    if (conn->at == UP && conn->slots_used >= conn->options.waiting_max)
        return SC_BUSY;
    if (!grow_slots(conn))
        return SC_NO_MEMORY;
    sc_status status = append(conn, bytes);
    if (status != SC_OK)
        return status;
    push_slot(conn, command);
    /* Only the first needs the timer set; later ones are seen when it fires. */
    sc_instant armed = sc_instant_after_ms(sc_now(), (int64_t)uv_timer_get_due_in(&conn->timer));
    if (!uv_is_active((uv_handle_t *)&conn->timer) || sc_instant_before(command->deadline, armed))
        arm_for(conn, sc_instant_earlier(command->deadline, hung_at(conn)));
    return SC_OK;
}

sc_status sc_conn_send_blind(sc_conn *conn, sc_str bytes)
{
    return append(conn, bytes);
}

void sc_conn_break(sc_conn *conn, const char *why)
{
    break_off(conn, why);
}
