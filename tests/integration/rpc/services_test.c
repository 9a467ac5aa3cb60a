/* Health and reflection, asked as a load balancer and a tool would; and clients that misbehave. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proto/descriptors.h"
#include "proto/grpc/health/v1/health.pb-c.h"
#include "proto/grpc/reflection/v1/reflection.pb-c.h"
#include "server/rpc/health.h"
#include "server/rpc/reflection.h"
#include "src/base/clock.h"
#include "src/base/log.h"
#include "tests/support/raw.h"
#include "tests/support/cmocka.h"

enum { OK = 0, INVALID = 3, DEADLINE = 4, NOT_FOUND = 5, EXHAUSTED = 8, UNIMPLEMENTED = 12, UNAVAILABLE = 14 };
enum { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 };

#define CHECK "/grpc.health.v1.Health/Check"
#define WATCH "/grpc.health.v1.Health/Watch"
#define REFLECT "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECT_ALPHA "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

static sc_rpc        *rpc;
static sc_health     *health;
static sc_reflection *reflection;
static char           target[64];
static char           socket_path[64];

static void echo(sc_rpc_call *call, sc_str request, void *context)
{
    (void)context;
    sc_rpc_reply(call, &(sc_rpc_piece){.bytes = request}, 1);
}

static int serve(uint32_t call_ms_max)
{
    static const char *const services[] = {"t.T"};
    char                     listen[128];
    const sc_rpc_options     options = {.listen = listen,
                                        .call_ms_max = call_ms_max,
                                        .threads = 1,
                                        .inflight_max = 100,
                                        .streams_max = 100,
                                        .message_bytes_max = 1 << 20,
                                        .metadata_bytes_max = 16384,
                                        .lame_duck_ms = 200,
                                        .grace_ms = 3000};
    sc_error                 error = {0};
    snprintf(socket_path, sizeof socket_path, "/tmp/services_test.%d", (int)getpid());
    snprintf(listen, sizeof listen, "127.0.0.1:0,unix:%s", socket_path);
    assert_int_equal(sc_rpc_open(&options, &rpc, &error), SC_OK);
    assert_int_equal(sc_health_open(rpc, services, 1, &health), SC_OK);
    assert_int_equal(
        sc_reflection_open(rpc, sc_proto_descriptors, sc_proto_descriptors_len, &reflection), SC_OK);
    assert_int_equal(sc_rpc_serve(rpc, &(sc_rpc_method){.path = "/t.T/Echo", .handle = echo}), SC_OK);
    assert_int_equal(sc_rpc_start(rpc, &error), SC_OK);
    snprintf(target, sizeof target, "127.0.0.1:%d", sc_rpc_port(rpc, 0));
    return 0;
}

static int up(void **state)
{
    (void)state;
    return serve(60000);
}

static int up_in_haste(void **state)
{
    (void)state;
    return serve(400);
}

static int down(void **state)
{
    (void)state;
    sc_rpc_close(rpc);
    sc_health_close(health);
    sc_reflection_close(reflection);
    return 0;
}

/* ---- health ---- */

static void send_service(raw_call *call, const char *service)
{
    uint8_t                              bytes[256];
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)(uintptr_t)service;
    size_t len = grpc__health__v1__health_check_request__pack(&request, bytes);
    raw_send(call, (sc_str){(char *)bytes, len});
    raw_half_close(call);
}

/* -1 at the end of the stream. */
static int next_status(raw_call *call)
{
    size_t len;
    char  *bytes = raw_receive(call, &len);
    if (bytes == NULL)
        return -1;
    Grpc__Health__V1__HealthCheckResponse *response =
        grpc__health__v1__health_check_response__unpack(NULL, len, (uint8_t *)bytes);
    assert_non_null(response);
    int status = (int)response->status;
    grpc__health__v1__health_check_response__free_unpacked(response, NULL);
    free(bytes);
    return status;
}

static int check(const char *service, int *code)
{
    char      text[128];
    raw_call *call = raw_open(target, CHECK, 5000, false);
    send_service(call, service);
    int status = next_status(call);
    *code = raw_status(call, text, sizeof text);
    raw_close(call);
    return status;
}

static void check_tells_the_status_of_known_services(void **state)
{
    int code;
    (void)state;
    sc_health_set(health, false);
    assert_int_equal(check("", &code), NOT_SERVING);
    sc_health_set(health, true);
    assert_int_equal(check("", &code), SERVING);
    assert_int_equal(code, OK);
    assert_int_equal(check("t.T", &code), SERVING);
    assert_int_equal(check("t.Other", &code), -1);
    assert_int_equal(code, NOT_FOUND);
}

/* A load balancer that watches must not need to ask again. */
static void watch_tells_every_change_at_once(void **state)
{
    raw_call *call = raw_open(target, WATCH, 20000, false);
    (void)state;
    sc_health_set(health, true);
    send_service(call, "t.T");
    assert_int_equal(next_status(call), SERVING);
    sc_instant from = sc_now();
    sc_health_set(health, false);
    assert_int_equal(next_status(call), NOT_SERVING);
    sc_health_set(health, true);
    assert_int_equal(next_status(call), SERVING);
    assert_in_range(sc_elapsed_us(from, sc_now()), 0, 500000);
    raw_close(call);
}

static void watch_of_an_unknown_service_says_so_and_stays_open(void **state)
{
    raw_call *call = raw_open(target, WATCH, 300, false);
    char      text[64];
    (void)state;
    send_service(call, "t.Other");
    assert_int_equal(next_status(call), SERVICE_UNKNOWN);
    assert_int_equal(next_status(call), -1);
    assert_int_equal(raw_status(call, text, sizeof text), 4);
    raw_close(call);
}

/* A watcher that went away must not be told anything. */
static void watchers_may_leave_at_any_time(void **state)
{
    (void)state;
    for (int i = 0; i < 50; i++) {
        raw_call *call = raw_open(target, WATCH, 20000, false);
        send_service(call, "");
        if (i % 2 == 0)
            next_status(call);
        raw_close(call);
        sc_health_set(health, i % 2 == 0);
    }
}

/* One address may not keep all others from watching. */
static void one_address_has_a_share_of_the_watchers(void **state)
{
    enum { SHARE = 256 };
    raw_call *calls[SHARE], *one_more = raw_open(target, WATCH, 60000, false), *other;
    char      text[64], by_socket[80];
    (void)state;
    sc_health_set(health, true);
    for (size_t i = 0; i < SHARE; i++) {
        calls[i] = raw_open(target, WATCH, 60000, false);
        send_service(calls[i], "");
        assert_int_equal(next_status(calls[i]), SERVING);
    }
    send_service(one_more, "");
    assert_int_equal(raw_status(one_more, text, sizeof text), EXHAUSTED);
    snprintf(by_socket, sizeof by_socket, "unix:%s", socket_path);
    other = raw_open(by_socket, WATCH, 60000, false);
    send_service(other, "");
    assert_int_equal(next_status(other), SERVING);
    raw_close(other);
    raw_close(one_more);
    for (size_t i = 0; i < SHARE; i++)
        raw_close(calls[i]);
}

static void *stop(void *argument)
{
    (void)argument;
    return (void *)(uintptr_t)sc_rpc_stop(rpc);
}

/* Otherwise every watcher would hold the server until its grace period ends. */
static void stop_turns_health_off_then_ends_watchers(void **state)
{
    raw_call *call = raw_open(target, WATCH, 20000, false);
    pthread_t thread;
    void     *result;
    char      text[64];
    int       code;
    (void)state;
    sc_health_set(health, true);
    send_service(call, "");
    assert_int_equal(next_status(call), SERVING);
    sc_instant from = sc_now();
    pthread_create(&thread, NULL, stop, NULL);
    assert_int_equal(next_status(call), NOT_SERVING);
    sc_health_set(health, true); /* too late to count */
    assert_int_equal(check("", &code), NOT_SERVING);
    assert_int_equal(next_status(call), -1);
    assert_int_equal(raw_status(call, text, sizeof text), UNAVAILABLE);
    raw_close(call);
    pthread_join(thread, &result);
    assert_int_equal((uintptr_t)result, SC_OK);
    assert_in_range(sc_elapsed_us(from, sc_now()), 200000, 2000000);
}

/* ---- reflection ---- */

typedef Grpc__Reflection__V1__ServerReflectionRequest  ask_message;
typedef Grpc__Reflection__V1__ServerReflectionResponse told_message;

static told_message *reflect(raw_call *call, ask_message *ask)
{
    uint8_t bytes[512];
    size_t  len = grpc__reflection__v1__server_reflection_request__pack(ask, bytes);
    assert_true(raw_send(call, (sc_str){(char *)bytes, len}));
    char *reply = raw_receive(call, &len);
    assert_non_null(reply);
    told_message *told =
        grpc__reflection__v1__server_reflection_response__unpack(NULL, len, (uint8_t *)reply);
    assert_non_null(told);
    free(reply);
    return told;
}

static void told_free(told_message *told)
{
    grpc__reflection__v1__server_reflection_response__free_unpacked(told, NULL);
}

static void list_names_every_service(const char *path)
{
    raw_call   *call = raw_open(target, path, 5000, false);
    ask_message ask = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    bool        found = false;
    char        text[64];
    ask.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES;
    ask.list_services = (char *)(uintptr_t)"";
    told_message *told = reflect(call, &ask);
    assert_non_null(told->list_services_response);
    for (size_t i = 0; i < told->list_services_response->n_service; i++)
        found = found || strcmp(told->list_services_response->service[i]->name,
                                "grpc.health.v1.Health") == 0;
    assert_true(found);
    told_free(told);
    raw_half_close(call);
    assert_int_equal(raw_status(call, text, sizeof text), OK);
    raw_close(call);
}

static void both_versions_list_the_services(void **state)
{
    (void)state;
    list_names_every_service(REFLECT);
    list_names_every_service(REFLECT_ALPHA);
}

static void a_symbol_gives_its_file_and_an_unknown_one_an_error(void **state)
{
    raw_call   *call = raw_open(target, REFLECT, 5000, false);
    ask_message ask = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    (void)state;
    ask.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    ask.file_containing_symbol = (char *)(uintptr_t)"grpc.health.v1.Health.Check";
    told_message *told = reflect(call, &ask);
    assert_non_null(told->file_descriptor_response);
    assert_int_equal(told->file_descriptor_response->n_file_descriptor_proto, 1);
    told_free(told);

    ask.file_containing_symbol = (char *)(uintptr_t)"grpc.health.v1.Nothing";
    told = reflect(call, &ask); /* on the same stream */
    assert_non_null(told->error_response);
    assert_int_equal(told->error_response->error_code, NOT_FOUND);
    told_free(told);
    raw_close(call);
}

/* ---- clients that misbehave ---- */

/* The core reports such a call as arrived, with no message. */
static void call_without_a_message_is_invalid(void **state)
{
    static const char *const paths[] = {"/t.T/Echo", WATCH};
    char                     text[128];
    (void)state;
    for (int i = 0; i < 2; i++) {
        raw_call *call = raw_open(target, paths[i], 5000, false);
        raw_half_close(call);
        assert_int_equal(raw_status(call, text, sizeof text), INVALID);
        assert_non_null(strstr(text, "no message"));
        raw_close(call);
    }
}

static void message_of_another_kind_is_invalid(void **state)
{
    char text[128];
    (void)state;
    raw_call *call = raw_open(target, CHECK, 5000, false);
    raw_send(call, SC_STR("\x0a\x7f garbage"));
    raw_half_close(call);
    assert_int_equal(raw_status(call, text, sizeof text), INVALID);
    raw_close(call);
}

static long resident_kb(void)
{
    long  pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    if (fscanf(file, "%*d %ld", &pages) != 1)
        pages = 0;
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* 300 KB that unpack to 300 MB: the core would unpack before it looks at the size limit. The
 * client here is in the same process and holds the plain message itself, so that is measured
 * before. */
static void packed_messages_are_refused_unopened(void **state)
{
    enum { BOMB_BYTES = 64 << 20 };
    char  text[128];
    char *bomb = calloc(1, BOMB_BYTES);
    (void)state;
    for (int i = 0; i < BOMB_BYTES; i += 4096)
        bomb[i] = 1;
    raw_call *call = raw_open(target, "/t.T/Echo", 20000, true);
    long      before = resident_kb();
    raw_send(call, (sc_str){bomb, BOMB_BYTES});
    raw_half_close(call);
    assert_int_equal(raw_status(call, text, sizeof text), UNIMPLEMENTED);
    /* The client's copy, and what packing takes; a server that unpacked would add as much again. */
    assert_in_range(resident_kb() - before < 0 ? 0 : resident_kb() - before, 0,
                    BOMB_BYTES / 1024 + 32 * 1024);
    raw_close(call);
    free(bomb);
}

/* ---- what lasts ---- */

/* A tool that keeps its stream open holds a place; a load balancer's Watch is meant to stay. */
static void reflection_ends_in_time_and_watch_stays(void **state)
{
    raw_call *watching = raw_open(target, WATCH, 0, false), *reflecting = raw_open(target, REFLECT, 0, false);
    char      text[64];
    (void)state;
    sc_health_set(health, true);
    send_service(watching, "");
    assert_int_equal(next_status(watching), SERVING);
    assert_int_equal(raw_status(reflecting, text, sizeof text), DEADLINE);
    sc_health_set(health, false);
    assert_int_equal(next_status(watching), NOT_SERVING);
    raw_close(watching);
    raw_close(reflecting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_tells_the_status_of_known_services),
        cmocka_unit_test(watch_tells_every_change_at_once),
        cmocka_unit_test(watch_of_an_unknown_service_says_so_and_stays_open),
        cmocka_unit_test(watchers_may_leave_at_any_time),
        cmocka_unit_test(one_address_has_a_share_of_the_watchers),
        cmocka_unit_test(both_versions_list_the_services),
        cmocka_unit_test(a_symbol_gives_its_file_and_an_unknown_one_an_error),
        cmocka_unit_test(call_without_a_message_is_invalid),
        cmocka_unit_test(message_of_another_kind_is_invalid),
        cmocka_unit_test(packed_messages_are_refused_unopened),
        cmocka_unit_test(stop_turns_health_off_then_ends_watchers), /* last: it stops the server */
    };
    const struct CMUnitTest in_haste[] = {cmocka_unit_test(reflection_ends_in_time_and_watch_stays)};
    sc_log_set_level(SC_LOG_ERROR);
    int failed = cmocka_run_group_tests(tests, up, down);
    return failed + cmocka_run_group_tests(in_haste, up_in_haste, down);
}
