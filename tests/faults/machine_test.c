/* The wall clock jumps, the disk of the log is full: the server goes on, and no answer is wrong. */
#include "tests/support/cmocka.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/faults/load.h"
#include "tests/support/bad_machine.h"

enum { DAY_S = 86400 };

typedef struct {
    sc_world        world;
    sc_bad_machine *machine; /* shared with the server */
    char            path[256];
} town;

static int set_up(void **state)
{
    static town here;
    const char *folder = getenv("TEST_TMPDIR");
    char        preload[512], file[300], base[256];
    here = (town){.path = ""};
    *state = &here;
    snprintf(here.path, sizeof here.path, "%s/machine.%d", folder == NULL ? "/tmp" : folder,
             (int)getpid());
    int fd = open(here.path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, sizeof *here.machine), 0);
    here.machine =
        mmap(NULL, sizeof *here.machine, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    assert_true(here.machine != MAP_FAILED);
    assert_non_null(getcwd(base, sizeof base));
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s/tests/support/libbad_machine.so", base);
    snprintf(file, sizeof file, SC_BAD_MACHINE_VARIABLE "=%s", here.path);
    sc_world_open(&here.world, 1, (const char *const[]){preload, file, NULL});
    return 0;
}

static int tear_down(void **state)
{
    town *here = *state;
    sc_world_close(&here->world);
    munmap(here->machine, sizeof *here->machine);
    unlink(here->path);
    return 0;
}

static town *need(void **state)
{
    town *here = *state;
    if (here->world.redis == NULL)
        skip();
    return here;
}

static int64_t created_at(sc_asker *asker, const char *prompt)
{
    sc_ask_request   request = sc_ask_init(prompt);
    sc_ask_response *response = sc_ask(asker, &request, NULL);
    int64_t          at = response->created_at_ms;
    sc_ask_free(response);
    return at;
}

/* A hypervisor sets the clock two days ahead, or back: what has expired by then is asked anew, what
 * has not is served, and a request's own deadline does not follow the wall clock. */
static void a_jumping_clock_makes_nothing_wrong(void **state)
{
    static const int64_t jumps_s[] = {2 * DAY_S, 0, -2 * DAY_S, 3600, -3600, 0};
    town                *here = need(state);
    sc_load_teach(here->world.askers[0]);
    int64_t  first = created_at(here->world.askers[0], "When was it?");
    sc_load *load = sc_load_start(here->world.askers, 1, NULL);
    for (size_t i = 0; i < sizeof jumps_s / sizeof jumps_s[0]; i++) {
        atomic_store(&here->machine->clock_offset_s, jumps_s[i]);
        sc_load_wait_for(load, 200);
    }
    atomic_store(&here->machine->clock_offset_s, 2 * DAY_S);
    int64_t second = created_at(here->world.askers[0], "When was it?");
    atomic_store(&here->machine->clock_offset_s, 0);
    sc_load_figures seen = sc_load_stop(load, "clock jumping by days and hours");
    assert_int_equal(seen.failed, 0);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.sent, seen.answered);
    /* The jump was real for the server: the entry had expired by its clock. */
    assert_true(second - first > DAY_S * 1000LL);
}

/* The log is for people; requests must not notice that nobody can write it. */
static void a_full_disk_for_logs_fails_no_request(void **state)
{
    town *here = need(state);
    atomic_store(&here->machine->log_full, true);
    sc_load *load = sc_load_start(here->world.askers, 1, NULL);
    sc_load_wait_for(load, 200);
    sc_test_redis_kill(here->world.redis); /* which is an event to be logged */
    sc_load_wait_for(load, 200);
    sc_test_redis_restart(here->world.redis, true);
    sc_load_wait_for(load, 200);
    sc_load_figures seen = sc_load_stop(load, "log disk full");
    char           *before = sc_test_server_log(here->world.servers[0]);
    assert_null(strstr(before, "redis.disconnected"));
    atomic_store(&here->machine->log_full, false);
    free(before);
    assert_int_equal(seen.failed, 0);
    assert_int_equal(seen.wrong, 0);
    assert_int_equal(seen.sent, seen.answered);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_jumping_clock_makes_nothing_wrong),
        cmocka_unit_test(a_full_disk_for_logs_fails_no_request),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
