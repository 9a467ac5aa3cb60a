/* Who comes in, who does not, and what a reload changes. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server/doors/doors.h"
#include "src/base/log.h"
#include "tests/support/cmocka.h"

#define TEST_HASH "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"  /* "test" */
#define HELLO_HASH "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" /* "hello" */

static const sc_str NONE = {NULL, 0};
static char         path[256];
static int          writes;

static void keys_write(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    /* Another size each time: two writes may fall into one tick of the file system's clock. */
    fprintf(file, "%s", text);
    for (int i = 0; i <= writes; i++)
        fputc('\n', file);
    fclose(file);
    writes++;
}

static sc_doors *doors_with(const char *text)
{
    sc_doors *doors;
    sc_error  error = {0};
    keys_write(text);
    assert_int_equal(sc_doors_open(&(sc_doors_options){path}, &doors, &error), SC_OK);
    return doors;
}

static sc_instant at_ms(int64_t ms)
{
    return (sc_instant){1000000000 + ms * 1000000};
}

static sc_status admit(sc_doors *doors, const char *authorization, sc_right right, int64_t ms)
{
    sc_pass   pass;
    int64_t   retry;
    sc_status status =
        sc_doors_admit(doors, sc_str_of(authorization), NONE, right, at_ms(ms), &pass, &retry);
    if (status == SC_OK)
        sc_doors_leave(doors, &pass);
    return status;
}

static void without_a_file_everybody_may_do_everything(void **state)
{
    sc_doors *doors;
    sc_error  error = {0};
    sc_pass   pass;
    int64_t   retry;
    (void)state;
    assert_int_equal(sc_doors_open(&(sc_doors_options){NULL}, &doors, &error), SC_OK);
    assert_int_equal(sc_doors_admit(doors, NONE, NONE, SC_RIGHT_ADMIN, at_ms(0), &pass, &retry), SC_OK);
    assert_int_equal(pass.tenant.len, 0);
    assert_int_equal(pass.rights, SC_RIGHT_ALL);
    sc_doors_leave(doors, &pass);
    sc_doors_close(doors);
}

static void a_missing_file_is_an_error_at_start(void **state)
{
    sc_doors *doors;
    sc_error  error = {0};
    (void)state;
    assert_int_equal(sc_doors_open(&(sc_doors_options){"/nonexistent/keys"}, &doors, &error),
                     SC_INVALID);
    assert_null(doors);
    assert_non_null(strstr(error.text, "/nonexistent/keys"));
}

static void keys_name_their_tenant_and_rights(void **state)
{
    sc_doors *doors = doors_with("tenant acme max_distance=0.3\nkey acme " TEST_HASH " answer\n");
    sc_pass   pass;
    int64_t   retry;
    (void)state;
    assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer test"), NONE, SC_RIGHT_ANSWER, at_ms(0),
                                    &pass, &retry),
                     SC_OK);
    assert_true(sc_str_equal(pass.tenant, SC_STR("acme")));
    assert_int_equal(pass.rights, SC_RIGHT_ANSWER);
    assert_true(pass.limits.distance_max == 0.3);
    sc_doors_leave(doors, &pass);
    assert_int_equal(admit(doors, "bearer test", SC_RIGHT_ANSWER, 0), SC_OK);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_STATS, 0), SC_PERMISSION_DENIED);
    sc_doors_close(doors);
}

static void wrong_keys_are_told_nothing(void **state)
{
    static const char *const wrong[] = {"",           "Bearer",      "Bearer ", "Bearer tes",
                                        "Bearer test ", "Bearer  test", "Basic test", "test",
                                        "Bearer " TEST_HASH};
    sc_doors *doors = doors_with("tenant acme\nkey acme " TEST_HASH " all\nsan acme shop answer\n");
    char      longest[700] = "Bearer ";
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(admit(doors, wrong[i], SC_RIGHT_ANSWER, 0), SC_UNAUTHENTICATED);
    memset(longest + 7, 'k', 600);
    assert_int_equal(admit(doors, longest, SC_RIGHT_ANSWER, 0), SC_UNAUTHENTICATED);
    assert_string_equal(sc_doors_text(SC_UNAUTHENTICATED), "not authenticated");
    sc_doors_close(doors);
}

/* A san row has no hash; an all-zero one must not become a key, nor a key a name. */
static void certificates_name_tenants_too(void **state)
{
    sc_doors *doors = doors_with("tenant acme\nsan acme spiffe://corp/shop answer\n"
                                 "tenant other\nkey other " TEST_HASH " all\n");
    sc_pass   pass;
    int64_t   retry;
    (void)state;
    assert_int_equal(sc_doors_admit(doors, NONE, SC_STR("spiffe://corp/shop"), SC_RIGHT_ANSWER,
                                    at_ms(0), &pass, &retry),
                     SC_OK);
    assert_true(sc_str_equal(pass.tenant, SC_STR("acme")));
    sc_doors_leave(doors, &pass);
    assert_int_equal(sc_doors_admit(doors, NONE, SC_STR("spiffe://corp/sho"), SC_RIGHT_ANSWER,
                                    at_ms(0), &pass, &retry),
                     SC_UNAUTHENTICATED);
    assert_int_equal(sc_doors_admit(doors, NONE, SC_STR(""), SC_RIGHT_ANSWER, at_ms(0), &pass, &retry),
                     SC_UNAUTHENTICATED);
    /* A wrong key beside a good certificate is a wrong key. */
    assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer nope"), SC_STR("spiffe://corp/shop"),
                                    SC_RIGHT_ANSWER, at_ms(0), &pass, &retry),
                     SC_UNAUTHENTICATED);
    sc_doors_close(doors);
}

static void a_bucket_empties_and_fills(void **state)
{
    sc_doors *doors = doors_with("tenant acme rate=10 burst=3\nkey acme " TEST_HASH " all\n");
    sc_pass   pass;
    int64_t   retry;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 0), SC_OK);
    assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer test"), NONE, SC_RIGHT_ANSWER, at_ms(0),
                                    &pass, &retry),
                     SC_BUSY);
    assert_int_equal(retry, 100);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 99), SC_BUSY);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 101), SC_OK);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 101), SC_BUSY);
    /* A long rest earns no more than the burst. */
    for (int i = 0; i < 3; i++)
        assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 100000), SC_OK);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 100000), SC_BUSY);
    sc_doors_close(doors);
}

static void those_inside_are_counted(void **state)
{
    sc_doors *doors = doors_with("tenant acme inflight=2\nkey acme " TEST_HASH " all\n");
    sc_pass   passes[3];
    int64_t   retry;
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer test"), NONE, SC_RIGHT_ANSWER, at_ms(0),
                                        &passes[i], &retry),
                         i < 2 ? SC_OK : SC_BUSY);
    assert_true(retry > 0);
    sc_doors_leave(doors, &passes[0]);
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 0), SC_OK);
    sc_doors_leave(doors, &passes[1]);
    sc_doors_close(doors);
}

/* A key that leaked is taken out of the file: it must stop working without a restart. */
static void a_changed_file_is_taken_up_and_a_broken_one_is_not(void **state)
{
    sc_doors *doors = doors_with("tenant acme rate=1 burst=1\nkey acme " TEST_HASH " all\n");
    sc_pass   inside;
    int64_t   retry;
    (void)state;
    assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer test"), NONE, SC_RIGHT_ANSWER, at_ms(0),
                                    &inside, &retry),
                     SC_OK);

    keys_write("tenant acme rate=1 burst=1\nkey acme " HELLO_HASH " all\n");
    assert_int_equal(admit(doors, "Bearer test", SC_RIGHT_ANSWER, 600), SC_UNAUTHENTICATED);
    /* The bucket is the old one: a reload is no way to get a fresh one. */
    assert_int_equal(admit(doors, "Bearer hello", SC_RIGHT_ANSWER, 600), SC_BUSY);
    assert_int_equal(admit(doors, "Bearer hello", SC_RIGHT_ANSWER, 3000), SC_OK);

    keys_write("tenant acme\nkey acme oops all\n");
    assert_int_equal(admit(doors, "Bearer hello", SC_RIGHT_ANSWER, 6000), SC_OK);
    unlink(path);
    assert_int_equal(admit(doors, "Bearer hello", SC_RIGHT_ANSWER, 9000), SC_OK);

    keys_write("");
    assert_int_equal(admit(doors, "Bearer hello", SC_RIGHT_ANSWER, 12000), SC_UNAUTHENTICATED);
    assert_true(sc_str_equal(inside.tenant, SC_STR("acme"))); /* still lent */
    sc_doors_leave(doors, &inside);
    sc_doors_close(doors);
}

static void *come_and_go(void *argument)
{
    for (int i = 0; i < 5000; i++)
        assert_int_not_equal(admit(argument, "Bearer test", SC_RIGHT_ANSWER, i), SC_INVALID);
    return NULL;
}

static void many_callers_and_reloads_leave_nothing_counted(void **state)
{
    sc_doors *doors = doors_with("tenant acme inflight=3\nkey acme " TEST_HASH " all\n");
    pthread_t threads[4];
    sc_pass   passes[3];
    int64_t   retry;
    (void)state;
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, come_and_go, doors);
    for (int i = 0; i < 20; i++)
        keys_write("tenant acme inflight=3\nkey acme " TEST_HASH " all\n");
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 3; i++)
        assert_int_equal(sc_doors_admit(doors, SC_STR("Bearer test"), NONE, SC_RIGHT_ANSWER,
                                        at_ms(900000), &passes[i], &retry),
                         SC_OK);
    for (int i = 0; i < 3; i++)
        sc_doors_leave(doors, &passes[i]);
    sc_doors_close(doors);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_file_everybody_may_do_everything),
        cmocka_unit_test(a_missing_file_is_an_error_at_start),
        cmocka_unit_test(keys_name_their_tenant_and_rights),
        cmocka_unit_test(wrong_keys_are_told_nothing),
        cmocka_unit_test(certificates_name_tenants_too),
        cmocka_unit_test(a_bucket_empties_and_fills),
        cmocka_unit_test(those_inside_are_counted),
        cmocka_unit_test(a_changed_file_is_taken_up_and_a_broken_one_is_not),
        cmocka_unit_test(many_callers_and_reloads_leave_nothing_counted),
    };
    const char *folder = getenv("TEST_TMPDIR");
    snprintf(path, sizeof path, "%s/keys%d", folder != NULL ? folder : "/tmp", (int)getpid());
    sc_log_set_level(SC_LOG_OFF);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
