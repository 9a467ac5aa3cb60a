/* What the time tells to somebody who guesses keys: the processor's steps are counted, one by one. */
#include "tests/support/cmocka.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server/doors/doors.h"

enum { KEYS = 8 };

static const char guess[] = "Bearer the guess of somebody";

/* A file of keys; number `at` has the guess' own hash but for one byte, or all of it (byte -1). */
static void write_keys(const char *path, int at, int byte)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("tenant shop\n", file);
    for (int i = 0; i < KEYS; i++) {
        char      hex[SC_DIGEST_HEX_BYTES + 1];
        sc_digest hash = sc_sha256(guess + 7, sizeof guess - 8);
        if (i != at)
            hash = sc_sha256(&i, sizeof i);
        else if (byte >= 0)
            hash.bytes[byte] ^= 1;
        sc_hex_encode(hash.bytes, sizeof hash.bytes, hex);
        fprintf(file, "key shop %s all\n", hex);
    }
    fclose(file);
}

/* The child: between two stops it does what is measured. The first time is not: it binds names. */
static void guess_once(const char *path)
{
    sc_doors_options options = {.keys_file = path};
    sc_doors        *doors;
    sc_pass          pass;
    sc_error         error;
    int64_t          retry_after_ms;
    sc_instant       now = sc_now();
    if (sc_doors_open(&options, &doors, &error) != SC_OK || ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(1);
    for (int time = 0; time < 2; time++) {
        raise(time == 0 ? SIGCONT : SIGSTOP);
        sc_status status =
            sc_doors_admit(doors, sc_str_of(guess), SC_STR(""), SC_RIGHT_ANSWER, now, &pass, &retry_after_ms);
        raise(time == 0 ? SIGCONT : SIGSTOP);
        if (status == SC_OK)
            sc_doors_leave(doors, &pass);
    }
    _exit(0);
}

static int wait_for_stop(pid_t child)
{
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSTOPPED(status));
    return WSTOPSIG(status);
}

static long steps_of(int at, int byte)
{
    char        path[256];
    const char *folder = getenv("TEST_TMPDIR");
    long        steps = 0;
    snprintf(path, sizeof path, "%s/time_test.%d", folder == NULL ? "/tmp" : folder, (int)getpid());
    write_keys(path, at, byte);
    pid_t child = fork();
    if (child == 0)
        guess_once(path);
    while (wait_for_stop(child) != SIGSTOP)
        ptrace(PTRACE_CONT, child, NULL, NULL);
    do {
        ptrace(PTRACE_SINGLESTEP, child, NULL, NULL);
        steps++;
    } while (wait_for_stop(child) != SIGSTOP);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    unlink(path);
    return steps;
}

/* With a comparison that stops early a key could be found byte by byte. */
static void a_wrong_key_takes_as_many_steps_however_much_of_it_is_right(void **state)
{
    (void)state;
    long first = steps_of(0, 0);
    print_message("    %ld steps\n", first);
    assert_true(first > 100);
    assert_int_equal(steps_of(0, 1), first);
    assert_int_equal(steps_of(0, 15), first);
    assert_int_equal(steps_of(0, 31), first);
    assert_int_equal(steps_of(KEYS - 1, 31), first);
    assert_int_equal(steps_of(-1, 0), first); /* nothing of it is right */
}

/* Nor does it matter where in the file the right one is. */
static void a_right_key_takes_as_many_steps_wherever_it_is(void **state)
{
    (void)state;
    long first = steps_of(0, -1);
    assert_true(first != steps_of(0, 0)); /* it is let in */
    assert_int_equal(steps_of(KEYS / 2, -1), first);
    assert_int_equal(steps_of(KEYS - 1, -1), first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_key_takes_as_many_steps_however_much_of_it_is_right),
        cmocka_unit_test(a_right_key_takes_as_many_steps_wherever_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
