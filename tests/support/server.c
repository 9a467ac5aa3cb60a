#include "tests/support/server.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { VARIABLES_MAX = 64, READY_MS_MAX = 30000, STEP_MS = 10 };

struct sc_test_server {
    pid_t pid; /* 0: has ended */
    int   exit_code;
    char  log_path[PATH_MAX];
    char  target[64];
};

static void stop_test(const char *what)
{
    fprintf(stderr, "tests/support/server: %s: %s\n", what, strerror(errno));
    abort();
}

static void nap(void)
{
    usleep(STEP_MS * 1000);
}

/* Tests run in the runfiles tree. */
static const char *program(void)
{
    const char *named = getenv("SEMCACHED");
    return named == NULL ? "server/semcached" : named;
}

static void keep_variable(char **environment, size_t *count, const char *name)
{
    const char *value = getenv(name);
    char       *word = NULL;
    if (value != NULL && asprintf(&word, "%s=%s", name, value) > 0)
        environment[(*count)++] = word;
}

static void run_child(const sc_test_server *server, const char *const *variables,
                      const char *const *flags)
{
    static const char *const kept[] = {"SEMCACHE_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "PATH",
                                       "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS",
                                       "LSAN_OPTIONS"};
    char       *environment[VARIABLES_MAX] = {strdup("LISTEN=127.0.0.1:0")};
    const char *argv[VARIABLES_MAX] = {program()};
    size_t      count = 1, words = 1;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < sizeof kept / sizeof kept[0]; i++)
        keep_variable(environment, &count, kept[i]);
    for (; variables != NULL && *variables != NULL && count + 1 < VARIABLES_MAX; variables++)
        environment[count++] = strdup(*variables);
    for (; flags != NULL && *flags != NULL && words + 1 < VARIABLES_MAX; flags++)
        argv[words++] = *flags;
    int log = open(server->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execve(argv[0], (char *const *)(uintptr_t)argv, environment);
    fprintf(stderr, "cannot run %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

sc_test_server *sc_test_server_spawn(const char *const *variables, const char *const *flags)
{
    static int      count;
    const char     *folder = getenv("TEST_TMPDIR");
    sc_test_server *server = calloc(1, sizeof *server);
    if (server == NULL)
        stop_test("calloc");
    snprintf(server->log_path, sizeof server->log_path, "%s/server.%d.%d.log",
             folder == NULL ? "/tmp" : folder, (int)getpid(), count++);
    unlink(server->log_path);
    server->pid = fork();
    if (server->pid < 0)
        stop_test("fork");
    if (server->pid == 0)
        run_child(server, variables, flags);
    return server;
}

char *sc_test_server_log(const sc_test_server *server)
{
    FILE  *file = fopen(server->log_path, "r");
    char  *text = calloc(1, 1);
    size_t len = 0;
    char   chunk[4096];
    for (size_t got; file != NULL && (got = fread(chunk, 1, sizeof chunk, file)) != 0; len += got) {
        text = realloc(text, len + got + 1);
        if (text == NULL)
            stop_test("realloc");
        memcpy(text + len, chunk, got);
        text[len + got] = '\0';
    }
    if (file != NULL)
        fclose(file);
    return text;
}

/* The log line that a server writes once it listens: `server.ready ... port=N`. */
static bool read_port(sc_test_server *server)
{
    char *log = sc_test_server_log(server);
    char *line = strstr(log, " server.ready ");
    char *port = line == NULL ? NULL : strstr(line, " port=");
    bool  whole = port != NULL && strchr(port, '\n') != NULL;
    if (whole)
        snprintf(server->target, sizeof server->target, "127.0.0.1:%d", atoi(port + 6));
    free(log);
    return whole;
}

static bool has_ended(sc_test_server *server)
{
    int status;
    if (server->pid == 0)
        return true;
    if (waitpid(server->pid, &status, WNOHANG) != server->pid)
        return false;
    server->exit_code = WIFEXITED(status)     ? WEXITSTATUS(status)
                        : WCOREDUMP(status) ? 256 + WTERMSIG(status)
                                            : 128 + WTERMSIG(status);
    server->pid = 0;
    return true;
}

sc_test_server *sc_test_server_start(const char *const *variables)
{
    sc_test_server *server = sc_test_server_spawn(variables, NULL);
    for (int waited = 0; !read_port(server); waited += STEP_MS) {
        if (has_ended(server) || waited >= READY_MS_MAX) {
            char *log = sc_test_server_log(server);
            fprintf(stderr, "tests/support/server: it did not start; its log:\n%s\n", log);
            abort();
        }
        nap();
    }
    return server;
}

int sc_test_server_wait(sc_test_server *server)
{
    for (int waited = 0; !has_ended(server); waited += STEP_MS) {
        if (waited >= READY_MS_MAX) {
            char *log = sc_test_server_log(server);
            fprintf(stderr, "tests/support/server: it did not end; its log:\n%s\n", log);
            abort();
        }
        nap();
    }
    return server->exit_code;
}

int sc_test_server_terminate(sc_test_server *server)
{
    if (server->pid != 0)
        kill(server->pid, SIGTERM);
    return sc_test_server_wait(server);
}

void sc_test_server_kill(sc_test_server *server)
{
    if (server->pid != 0)
        kill(server->pid, SIGKILL);
    sc_test_server_wait(server);
}

/* A server whose test went well has nothing to say but what a sanitizer found. */
void sc_test_server_stop(sc_test_server *server)
{
    if (server == NULL)
        return;
    bool ran = server->pid != 0;
    int  code = ran ? sc_test_server_terminate(server) : 0;
    if (ran && code != 0) {
        char *log = sc_test_server_log(server);
        fprintf(stderr, "tests/support/server: exit code %d on SIGTERM; its log:\n%s\n", code, log);
        abort();
    }
    unlink(server->log_path);
    free(server);
}

pid_t sc_test_server_pid(const sc_test_server *server)
{
    return server->pid;
}

const char *sc_test_server_target(const sc_test_server *server)
{
    return server->target;
}
