/* Running out of descriptors. On its own: it lowers the limit of the whole process. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "server/rpc/rpc.h"
#include "src/base/log.h"
#include "tests/support/cmocka.h"

enum { LIMIT = 60, CONNECTIONS = 150 };

static void echo(sc_rpc_call *call, sc_str request, void *context)
{
    (void)context;
    sc_rpc_reply(call, &(sc_rpc_piece){.bytes = request}, 1);
}

static sc_status ask(const char *target)
{
    sc_client        *client;
    sc_client_options options = {.target = target};
    sc_error          error = {0};
    char             *reply = NULL;
    size_t            len;

    sc_status status = sc_client_open(&options, &client, &error);
    if (status == SC_OK)
        status = sc_client_ask(client, "/t.T/Echo", SC_STR("hello"), 3000, &reply, &len, NULL, &error);
    free(reply);
    sc_client_close(client);
    return status;
}

/* The flood comes from another process, started before the limit: its descriptors are its own.
 * Reads the port from `orders`, and writes a byte to `done` when all connections are made. */
static void flood(int orders, int done)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* when the test is killed */
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (read(orders, &to.sin_port, sizeof to.sin_port) != sizeof to.sin_port)
        _exit(1);
    for (int i = 0; i < CONNECTIONS; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (s < 0 || connect(s, (struct sockaddr *)&to, sizeof to) != 0)
            _exit(1);
    }
    if (write(done, "", 1) == 1)
        sleep(60);
    _exit(0);
}

static pid_t flood_start(int *orders, int *done)
{
    int down[2], up[2];
    assert_int_equal(pipe(down), 0);
    assert_int_equal(pipe(up), 0);
    pid_t child = fork();
    if (child == 0)
        flood(down[0], up[1]);
    close(down[0]);
    close(up[1]);
    *orders = down[1];
    *done = up[0];
    return child;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* Before the guard: one EMFILE, and the server never accepted again. */
static void listener_survives_running_out_of_descriptors(void **state)
{
    const sc_rpc_options options = {.listen = "127.0.0.1:0", .threads = 1, .inflight_max = 10,
                                    .streams_max = 10, .message_bytes_max = 65536,
                                    .metadata_bytes_max = 16384, .grace_ms = 100};
    const struct rlimit  low = {LIMIT, LIMIT};
    sc_rpc              *rpc;
    sc_error             error = {0};
    sc_rpc_figures       figures;
    char                 target[64], byte;
    int                  orders, done;
    (void)state;

    pid_t child = flood_start(&orders, &done);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    assert_int_equal(sc_rpc_open(&options, &rpc, &error), SC_OK);
    assert_int_equal(sc_rpc_serve(rpc, &(sc_rpc_method){.path = "/t.T/Echo", .handle = echo}), SC_OK);
    assert_int_equal(sc_rpc_start(rpc, &error), SC_OK);
    snprintf(target, sizeof target, "127.0.0.1:%d", sc_rpc_port(rpc, 0));

    uint16_t port = htons((uint16_t)sc_rpc_port(rpc, 0));
    assert_int_equal(write(orders, &port, sizeof port), sizeof port);
    assert_int_equal(read(done, &byte, 1), 1);
    close(done);
    close(orders);
    for (int i = 0; i < 300; i++) {
        sc_rpc_look(rpc, &figures);
        if (figures.connections_refused >= CONNECTIONS - LIMIT)
            break;
        pause_ms(10);
    }
    assert_in_range(figures.connections_refused, CONNECTIONS - LIMIT, CONNECTIONS);

    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    pause_ms(300);
    assert_int_equal(ask(target), SC_OK);
    sc_rpc_close(rpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(listener_survives_running_out_of_descriptors),
    };
    sc_log_set_level(SC_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
