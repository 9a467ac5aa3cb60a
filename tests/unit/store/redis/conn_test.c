/* A connection, alone, on a loop of the test's own. */
#include "src/store/redis/conn.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/base/list.h"
#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"
#include "tests/support/store/peer.h"

enum { PATIENCE_MS = 20000 };

static sc_test_peer_then pong(void *context, const redisReply *command, sc_buf *out)
{
    (void)context;
    sc_buf_str(out, sc_test_peer_is(command, "PING") ? SC_STR("+PONG\r\n") : SC_STR("+OK\r\n"));
    return SC_PEER_GO_ON;
}

typedef struct {
    uv_loop_t    loop;
    sc_redis_url url;
    sc_conn     *conn;
    sc_command   command;
    bool         sent, replied;
    unsigned     ups, downs;
} side;

static void on_up(void *context, sc_conn *conn)
{
    side *s = context;
    (void)conn;
    s->ups++;
}

static void on_down(void *context, sc_conn *conn)
{
    side *s = context;
    (void)conn;
    s->downs++;
}

static void on_reply(sc_command *command, const redisReply *reply)
{
    side *s = SC_CONTAINER(command, side, command);
    s->replied = reply->type == REDIS_REPLY_STATUS && strcmp(reply->str, "PONG") == 0;
}

static void on_failed(sc_command *command, sc_status status, const char *why)
{
    (void)status;
    (void)why;
    SC_CONTAINER(command, side, command)->sent = false;
}

static sc_status open_side(side *s, const sc_test_peer *peer)
{
    sc_error error = {0};

    *s = (side){.replied = false};
    assert_int_equal(uv_loop_init(&s->loop), 0);
    assert_int_equal(sc_redis_url_parse(sc_str_of(sc_test_peer_url(peer)), &s->url, &error), SC_OK);
    return sc_conn_open(&(sc_conn_options){.loop = &s->loop,
                                           .role = "test",
                                           .url = &s->url,
                                           .dial_ms_max = PATIENCE_MS,
                                           .hang_ms = PATIENCE_MS,
                                           .reply_bytes_max = 1 << 20,
                                           .waiting_max = 16,
                                           .context = s,
                                           .up = on_up,
                                           .down = on_down},
                        &s->conn);
}

static void ping(side *s)
{
    s->command = (sc_command){.deadline = sc_instant_after_ms(sc_now(), PATIENCE_MS),
                              .replies = 1,
                              .reply = on_reply,
                              .failed = on_failed};
    s->sent = sc_conn_send(s->conn, &s->command, SC_STR("*1\r\n$4\r\nPING\r\n")) == SC_OK;
}

/* Whatever breaks on the way is made anew by the connection itself, or sent again by us. */
static void ping_until_replied(side *s)
{
    sc_instant until = sc_instant_after_ms(sc_now(), PATIENCE_MS);

    while (!s->replied && sc_instant_before(sc_now(), until)) {
        if (!s->sent && sc_conn_is_up(s->conn))
            ping(s);
        uv_run(&s->loop, UV_RUN_NOWAIT);
        usleep(500);
    }
}

static void close_side(side *s)
{
    sc_conn_close(s->conn);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&s->loop), 0); /* no handle is left */
}

static bool ask_once(void *peer)
{
    side      s;
    sc_status opened = open_side(&s, peer);

    if (opened == SC_OK) {
        ping_until_replied(&s);
        assert_true(s.replied);
    } else {
        assert_int_equal(opened, SC_NO_MEMORY);
        assert_null(s.conn);
    }
    close_side(&s);
    return opened == SC_OK;
}

/* A server that ran out of memory for a moment would be without Redis from then on. */
static void it_comes_up_whichever_allocation_fails(void **state)
{
    sc_test_peer *peer = sc_test_peer_start(pong, NULL);
    (void)state;
    assert_true(sc_fail_malloc_each(ask_once, peer) >= 5);
    sc_test_peer_stop(peer);
}

typedef struct {
    unsigned connections; /* greeted so far; the peer's thread only */
    sc_str   instead;     /* of the first connections' first reply */
} rude;

static sc_test_peer_then be_rude(void *context, const redisReply *command, sc_buf *out)
{
    rude *peer = context;
    if (sc_test_peer_is(command, "CLIENT") && peer->connections++ < 2) {
        sc_buf_str(out, peer->instead);
        return SC_PEER_GO_ON;
    }
    return pong(NULL, command, out);
}

/* Replies that are none break the connection off instead of being taken for other commands' replies;
 * it comes back as soon as the peer is sane. */
static void what_is_no_reply_breaks_it_off(void **state)
{
    static const char *const wrong[] = {"HTTP/1.1 400 Bad Request\r\n\r\n", "$-7\r\n", ":1a\r\n",
                                        "*2147483647\r\n", "$99999999999999999999\r\n", "\r\n"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        rude          manner = {.instead = sc_str_of(wrong[i])};
        sc_test_peer *peer = sc_test_peer_start(be_rude, &manner);
        side          s;
        assert_int_equal(open_side(&s, peer), SC_OK);
        ping_until_replied(&s);
        if (!s.replied)
            fail_msg("did not come back after %s", wrong[i]);
        assert_int_equal(s.ups, 1);
        close_side(&s);
        sc_test_peer_stop(peer);
        assert_true(manner.connections >= 3);
    }
}

typedef struct {
    unsigned pings, elements; /* the peer's thread only */
    size_t   element_bytes;
} verbose;

/* The second PING, the first that is not part of the greeting, gets a reply without measure. */
static sc_test_peer_then be_verbose(void *context, const redisReply *command, sc_buf *out)
{
    verbose *peer = context;
    if (!sc_test_peer_is(command, "PING") || ++peer->pings != 2)
        return pong(NULL, command, out);
    if (peer->elements > 1)
        sc_buf_printf(out, "*%u\r\n", peer->elements);
    char *bytes = malloc(peer->element_bytes);
    assert_non_null(bytes);
    memset(bytes, 'x', peer->element_bytes);
    for (unsigned i = 0; i < peer->elements; i++) {
        sc_buf_printf(out, "$%zu\r\n", peer->element_bytes);
        sc_buf_str(out, (sc_str){bytes, peer->element_bytes});
        sc_buf_str(out, SC_STR("\r\n"));
    }
    free(bytes);
    return SC_PEER_GO_ON;
}

/* A reply is bounded as a whole, also when each of its elements is small. */
static void a_reply_without_measure_breaks_it_off(void **state)
{
    static const verbose manners[] = {{.elements = 1, .element_bytes = 3 << 20},
                                      {.elements = 300, .element_bytes = 10000}};
    (void)state;
    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        verbose       manner = manners[i];
        sc_test_peer *peer = sc_test_peer_start(be_verbose, &manner);
        side          s;
        assert_int_equal(open_side(&s, peer), SC_OK);
        ping_until_replied(&s);
        assert_true(s.replied);
        assert_int_equal(s.downs, 1);
        assert_int_equal(s.ups, 2);
        close_side(&s);
        sc_test_peer_stop(peer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_up_whichever_allocation_fails),
        cmocka_unit_test(what_is_no_reply_breaks_it_off),
        cmocka_unit_test(a_reply_without_measure_breaks_it_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
