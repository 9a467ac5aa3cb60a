/* The admin port, asked by hand over a socket. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/admin/admin.h"
#include "tests/support/cmocka.h"

static bool is_ready;

static void metrics(void *context, sc_buf *out)
{
    (void)context;
    sc_buf_printf(out, "semcache_requests_total 7\n");
}

static bool ready(void *context, sc_buf *why)
{
    (void)context;
    if (!is_ready)
        sc_buf_printf(why, "warming up");
    return is_ready;
}

static const sc_admin_source source = {metrics, ready, NULL};

/* Sends the text and gives all that comes back; to be freed. */
static char *exchange(int port, const char *text)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    char              *reply = calloc(1, 65536);
    size_t             len = 0;
    ssize_t            got;
    int                s = socket(AF_INET, SOCK_STREAM, 0);

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(s, (struct sockaddr *)&to, sizeof to), 0);
    assert_int_equal(write(s, text, strlen(text)), strlen(text));
    while (len < 65535 && (got = read(s, reply + len, 65535 - len)) > 0)
        len += (size_t)got;
    close(s);
    return reply;
}

static void expect(int port, const char *request, const char *status, const char *part)
{
    char  text[256];
    snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
             request);
    char *reply = exchange(port, text);
    if (strncmp(reply, "HTTP/1.1 ", 9) != 0 || strncmp(reply + 9, status, 3) != 0 ||
        strstr(reply, part) == NULL)
        fail_msg("%s gave: %s", request, reply);
    free(reply);
}

static sc_admin *up(const char *listen)
{
    sc_admin *admin;
    sc_error  error = {0};
    if (sc_admin_open(&(sc_admin_options){.listen = listen}, &source, &admin, &error) != SC_OK)
        fail_msg("%s", error.text);
    return admin;
}

static void paths_answer(void **state)
{
    sc_admin *admin = up("127.0.0.1:0");
    int       port = sc_admin_port(admin);
    (void)state;
    assert_true(port > 0);
    expect(port, "GET /metrics", "200", "semcache_requests_total 7");
    expect(port, "GET /metrics", "200", "version=0.0.4");
    expect(port, "GET /live", "200", "live");
    is_ready = false;
    expect(port, "GET /ready", "503", "warming up");
    is_ready = true;
    expect(port, "GET /ready", "200", "ready");
    expect(port, "GET /other", "404", "/metrics");
    expect(port, "POST /live", "405", "GET only");
    expect(port, "DELETE /metrics", "405", "GET only");
    sc_admin_close(admin);
}

static void bytes_that_are_no_http_harm_nothing(void **state)
{
    sc_admin *admin = up("127.0.0.1:0");
    (void)state;
    free(exchange(sc_admin_port(admin), "\x16\x03\x01\r\n\r\n\r\n"));
    expect(sc_admin_port(admin), "GET /live", "200", "live");
    sc_admin_close(admin);
}

static void no_address_means_no_port(void **state)
{
    sc_admin *admin;
    sc_error  error = {0};
    (void)state;
    assert_int_equal(sc_admin_open(&(sc_admin_options){NULL}, &source, &admin, &error), SC_OK);
    assert_null(admin);
    sc_admin_close(admin);
}

static void addresses_are_checked(void **state)
{
    static const char *const wrong[] = {"",          "x",         "127.0.0.1",       "127.0.0.1:x",
                                        ":80",       "[::1]",     "127.0.0.1:70000", "localhost:80",
                                        "0.0.0.0:0", "[::]:0"};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        sc_admin *admin;
        sc_error  error = {0};
        assert_int_equal(
            sc_admin_open(&(sc_admin_options){.listen = wrong[i]}, &source, &admin, &error), SC_INVALID);
        assert_non_null(strstr(error.text, "ADMIN_LISTEN"));
    }
}

static void a_port_in_use_is_said(void **state)
{
    sc_admin *admin = up("127.0.0.1:0"), *second;
    char      listen[32];
    sc_error  error = {0};
    (void)state;
    snprintf(listen, sizeof listen, "127.0.0.1:%d", sc_admin_port(admin));
    assert_int_equal(sc_admin_open(&(sc_admin_options){.listen = listen}, &source, &second, &error),
                     SC_UNAVAILABLE);
    sc_admin_close(admin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_answer),          cmocka_unit_test(bytes_that_are_no_http_harm_nothing),
        cmocka_unit_test(no_address_means_no_port), cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(a_port_in_use_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
