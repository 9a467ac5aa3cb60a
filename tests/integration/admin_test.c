/* What operators see: metrics that add up, readiness, and a dashboard that shows what there is. */
#include "tests/support/cmocka.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/world.h"

static int set_up(void **state)
{
    static sc_world here;
    sc_world_open(&here, 1, (const char *const[]){"ADMIN_LISTEN=127.0.0.1:0", NULL});
    *state = &here;
    return 0;
}

static int admin_port(sc_world *here)
{
    char *log = sc_test_server_log(here->servers[0]);
    char *at = strstr(log, "admin_port=");
    assert_non_null(at);
    int port = atoi(at + strlen("admin_port="));
    free(log);
    return port;
}

/* The whole reply, head and body; to be freed. */
static char *get(int port, const char *path)
{
    enum { ROOM = 1 << 20 };
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char               request[128];
    char              *reply = calloc(1, ROOM);
    size_t             len = 0;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    int words = snprintf(request, sizeof request,
                         "GET %s HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", path);
    assert_int_equal(write(fd, request, (size_t)words), words);
    for (ssize_t got; len + 1 < ROOM && (got = read(fd, reply + len, ROOM - 1 - len)) > 0;)
        len += (size_t)got;
    close(fd);
    return reply;
}

/* An alert that is made from these numbers would fire, or stay silent, for no reason. */
static void metrics_count_what_happened(void **state)
{
    sc_world *here = sc_world_of(state);
    assert_int_equal(sc_ask_source(here->askers[0], "Count me?"), SEMCACHE__V1__SOURCE__SOURCE_LLM);
    assert_int_equal(sc_ask_source(here->askers[0], "count me"), SEMCACHE__V1__SOURCE__SOURCE_EXACT);
    char *metrics = get(admin_port(here), "/metrics");
    assert_non_null(strstr(metrics, "200 OK"));
    assert_non_null(strstr(metrics, "\nsemcache_requests_total{outcome=\"llm\"} 1\n"));
    assert_non_null(strstr(metrics, "\nsemcache_requests_total{outcome=\"exact\"} 1\n"));
    assert_non_null(strstr(metrics, "\nsemcache_requests_total{outcome=\"failed\"} 0\n"));
    assert_non_null(strstr(metrics, "\nsemcache_cache_latency_seconds_count 1\n"));
    assert_non_null(strstr(metrics, "\nsemcache_llm_latency_seconds_count 1\n"));
    assert_non_null(strstr(metrics, "\nsemcache_redis_connected 1\n"));
    free(metrics);
}

static void ready_and_live_say_so(void **state)
{
    sc_world *here = sc_world_of(state);
    char     *ready = get(admin_port(here), "/ready");
    char     *live = get(admin_port(here), "/live");
    assert_non_null(strstr(ready, "200 OK"));
    assert_non_null(strstr(live, "200 OK"));
    free(ready);
    free(live);
}

static char *read_file(const char *path)
{
    enum { ROOM = 1 << 20 };
    FILE *file = fopen(path, "r");
    char *text = calloc(1, ROOM);
    assert_non_null(file);
    assert_true(fread(text, 1, ROOM - 1, file) > 0);
    fclose(file);
    return text;
}

/* A panel of a series that nobody exposes stays empty, and an outage unseen. */
static void the_dashboard_shows_series_that_exist(void **state)
{
    sc_world *here = sc_world_of(state);
    char     *metrics = get(admin_port(here), "/metrics");
    char     *board = read_file("server/admin/grafana.json");
    size_t    seen = 0;
    for (char *at = board; (at = strstr(at, "semcache_")) != NULL; seen++) {
        char   name[80] = "\n";
        size_t len = 0;
        for (; isalnum((unsigned char)at[len]) || at[len] == '_'; len++)
            assert_true(len + 3 < sizeof name);
        memcpy(name + 1, at, len);
        if (strstr(metrics, name) == NULL)
            fail_msg("no series begins with '%s'", name + 1);
        at += len;
    }
    assert_true(seen > 15);
    free(metrics);
    free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_count_what_happened),
        cmocka_unit_test(ready_and_live_say_so),
        cmocka_unit_test(the_dashboard_shows_series_that_exist),
    };
    return cmocka_run_group_tests(tests, set_up, sc_world_tear_down);
}
