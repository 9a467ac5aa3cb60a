/* semcached - the server: reads its settings, composes the parts, serves until it is told to stop. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "server/app/app.h"
#include "src/base/log.h"

enum { EXIT_USAGE = 2 };

static int print(const sc_settings *settings)
{
    sc_buf out;
    sc_buf_init(&out, 1 << 20);
    sc_settings_print(settings, &out);
    int code = out.failed == SC_OK && fwrite(out.data, 1, out.len, stdout) == out.len
                   ? EXIT_SUCCESS
                   : EXIT_FAILURE;
    sc_buf_fini(&out);
    return code;
}

/* Each connection is a descriptor; a server that runs out of them turns callers away. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* Blocked in every thread that follows; taken by sigwait below, since nothing of gRPC may be called
 * from a signal handler. */
static void block_signals(sigset_t *ends)
{
    sigemptyset(ends);
    sigaddset(ends, SIGTERM);
    sigaddset(ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, ends, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Keys lie in memory that dumps leave out, but libraries copy them: libcurl into each request. */
static void forbid_core_dumps(void)
{
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        sc_log(SC_LOG_WARN, "server.core_dumps_allowed", sc_kv_text("cause", "prctl"));
}

static int serve(sc_settings *settings)
{
    sigset_t ends;
    sc_app  *app = NULL;
    sc_error error = {.status = SC_OK};
    int      signal_number = 0;
    block_signals(&ends);
    raise_descriptor_limit();
    sc_status status = sc_app_open(settings, &app, &error);
    if (status != SC_OK) {
        fprintf(stderr, "semcached: %s\n", error.text);
        return status == SC_INVALID || status == SC_MISMATCH ? EXIT_USAGE : EXIT_FAILURE;
    }
    sigwait(&ends, &signal_number);
    sc_log(SC_LOG_INFO, "server.stopping", sc_kv_int("signal", signal_number));
    status = sc_app_close(app);
    sc_log(SC_LOG_INFO, "server.stopped", sc_kv_text("status", sc_status_name(status)));
    return status == SC_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    sc_settings *settings = NULL;
    sc_error     error = {.status = SC_OK};
    if (sc_settings_open(argc, argv, environ, &settings, &error) != SC_OK) {
        fprintf(stderr, "semcached: %s\n", error.text);
        return EXIT_USAGE;
    }
    if (!settings->process.core_dumps)
        forbid_core_dumps();
    sc_config_wipe_environment(settings->config, environ);
    int code = sc_settings_serves(settings) ? serve(settings) : print(settings);
    sc_settings_close(settings);
    return code;
}
