#include "tests/support/redis.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGS_MAX = 96, ENVIRONMENT_MAX = 512, READY_MS_MAX = 20000, PORT_TRIES_MAX = 5 };

struct sc_test_redis {
    char               folder[PATH_MAX]; /* of redis-server and its module */
    char               work[PATH_MAX];   /* of this server, removed with it */
    char               url[64];
    int                port;
    pid_t              pid;  /* 0: not running */
    const char *const *args; /* the caller's */
};

static void stop_test(const char *what)
{
    fprintf(stderr, "tests/support/redis: %s: %s\n", what, strerror(errno));
    abort();
}

/* The cache folder that bazel/install fills. */
static bool find_folder(char *out, size_t room)
{
    static const struct {
        const char *variable, *below;
    } places[] = {
        {"SEMCACHE_CACHE_DIR", ""}, {"XDG_CACHE_HOME", "/semcache"}, {"HOME", "/.cache/semcache"}};

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        const char *value = getenv(places[i].variable);
        if (value == NULL || value[0] == '\0')
            continue;
        char server[PATH_MAX];
        int  len = snprintf(out, room, "%s%s/redis", value, places[i].below);
        if (len < 0 || (size_t)len >= room ||
            snprintf(server, sizeof server, "%s%s/redis/redis-server", value, places[i].below) >=
                (int)sizeof server)
            continue;
        if (access(server, X_OK) == 0)
            return true;
    }
    return false;
}

int sc_test_free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    int                fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) != 0)
        stop_test("no free port");
    close(fd);
    return ntohs(address.sin_port);
}

/* What execve needs, made before fork: in the child of a process with threads only
 * async-signal-safe calls are allowed. */
typedef struct {
    char  port[16], server[PATH_MAX + 16], module[PATH_MAX + 16], libraries[PATH_MAX + 32];
    char *argv[ARGS_MAX];
    char *envp[ENVIRONMENT_MAX];
} words;

static void add_arg(words *to, const char *arg)
{
    size_t at = 0;

    while (to->argv[at] != NULL)
        at++;
    if (at + 1 == ARGS_MAX) {
        errno = E2BIG;
        stop_test("arguments");
    }
    to->argv[at] = (char *)(uintptr_t)arg;
}

static void make_argv(const sc_test_redis *redis, words *to)
{
    const char *const fixed[] = {to->server,  "--port",     to->port,    "--bind",
                                 "127.0.0.1", "--save",     "",          "--appendonly",
                                 "no",        "--dir",      redis->work, "--logfile",
                                 "log",       "--loglevel", "warning",   "--enable-debug-command",
                                 "local"};

    snprintf(to->port, sizeof to->port, "%d", redis->port);
    snprintf(to->server, sizeof to->server, "%s/redis-server", redis->folder);
    snprintf(to->module, sizeof to->module, "%s/redisearch.so", redis->folder);
    for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++)
        add_arg(to, fixed[i]);
    for (const char *const *arg = redis->args; arg != NULL && *arg != NULL; arg++)
        add_arg(to, *arg);
    add_arg(to, "--loadmodule");
    add_arg(to, to->module);
}

static void make_environment(const sc_test_redis *redis, words *to)
{
    size_t used = 0;

    snprintf(to->libraries, sizeof to->libraries, "LD_LIBRARY_PATH=%s/stub", redis->folder);
    to->envp[used++] = to->libraries;
    /* A sanitizer that was preloaded into the test is not meant for the server. */
    for (char **variable = environ; *variable != NULL && used + 1 < ENVIRONMENT_MAX; variable++)
        if (strncmp(*variable, "LD_", 3) != 0)
            to->envp[used++] = *variable;
}

static void run_server(const words *of, pid_t parent)
{
    int quiet = open("/dev/null", O_RDWR);

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    dup2(quiet, STDIN_FILENO);
    dup2(quiet, STDOUT_FILENO);
    dup2(quiet, STDERR_FILENO);
    execve(of->server, of->argv, of->envp);
    _exit(127);
}

static void launch(sc_test_redis *redis)
{
    words *made = calloc(1, sizeof *made);
    pid_t  parent = getpid();

    if (made == NULL)
        stop_test("memory");
    make_argv(redis, made);
    make_environment(redis, made);
    redis->pid = fork();
    if (redis->pid < 0)
        stop_test("fork");
    if (redis->pid == 0)
        run_server(made, parent);
    free(made);
}

static redisContext *dial(sc_test_redis *redis)
{
    redisContext *context =
        redisConnectWithTimeout("127.0.0.1", redis->port, (struct timeval){1, 0});
    if (context == NULL || context->err != 0) {
        redisFree(context);
        return NULL;
    }
    redisSetTimeout(context, (struct timeval){20, 0});
    return context;
}

static bool answers(sc_test_redis *redis)
{
    redisContext *context = dial(redis);
    redisReply   *reply = context == NULL ? NULL : redisCommand(context, "PING");
    /* An error is an answer too: a server with a password is up. */
    bool up = reply != NULL &&
              (reply->type == REDIS_REPLY_STATUS || strncmp(reply->str, "NOAUTH", 6) == 0);

    if (reply != NULL)
        freeReplyObject(reply);
    if (context != NULL)
        redisFree(context);
    return up;
}

/* False: it ended, most likely because another process took the port. */
static bool wait_ready(sc_test_redis *redis)
{
    for (int waited_ms = 0; waited_ms < READY_MS_MAX; waited_ms += 10) {
        if (waitpid(redis->pid, NULL, WNOHANG) == redis->pid) {
            redis->pid = 0;
            return false;
        }
        if (answers(redis))
            return true;
        usleep(10000);
    }
    errno = ETIMEDOUT;
    stop_test("redis-server did not get ready");
    return false;
}

static sc_test_redis *not_installed(sc_test_redis *redis)
{
    const char *require = getenv("SEMCACHE_REQUIRE");

    free(redis);
    fprintf(stderr, "[  SKIPPED ] NO REDIS WITH SEARCH ON THIS MACHINE: run bazel/install\n");
    if (require != NULL && require[0] != '\0' && strcmp(require, "0") != 0)
        abort();
    return NULL;
}

sc_test_redis *sc_test_redis_start(const char *const *args)
{
    sc_test_redis *redis = calloc(1, sizeof *redis);
    if (redis == NULL)
        stop_test("memory");
    if (!find_folder(redis->folder, sizeof redis->folder))
        return not_installed(redis);

    const char *temporary = getenv("TEST_TMPDIR");
    redis->args = args;
    snprintf(redis->work, sizeof redis->work, "%s/redis.XXXXXX",
             temporary != NULL ? temporary : "/tmp");
    if (mkdtemp(redis->work) == NULL)
        stop_test(redis->work);
    for (int tries = 0; tries < PORT_TRIES_MAX; tries++) {
        redis->port = sc_test_free_port();
        launch(redis);
        if (wait_ready(redis)) {
            snprintf(redis->url, sizeof redis->url, "redis://127.0.0.1:%d", redis->port);
            return redis;
        }
    }
    errno = EADDRINUSE;
    stop_test("redis-server does not start");
    return NULL;
}

static int remove_one(const char *path, const struct stat *stat, int type, struct FTW *walk)
{
    (void)stat;
    (void)type;
    (void)walk;
    remove(path);
    return 0;
}

void sc_test_redis_stop(sc_test_redis *redis)
{
    if (redis == NULL)
        return;
    sc_test_redis_kill(redis);
    nftw(redis->work, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(redis);
}

const char *sc_test_redis_url(const sc_test_redis *redis)
{
    return redis->url;
}

int sc_test_redis_port(const sc_test_redis *redis)
{
    return redis->port;
}

void sc_test_redis_kill(sc_test_redis *redis)
{
    if (redis->pid == 0)
        return;
    kill(redis->pid, SIGKILL);
    waitpid(redis->pid, NULL, 0);
    redis->pid = 0;
}

void sc_test_redis_restart(sc_test_redis *redis, bool wait)
{
    sc_test_redis_kill(redis);
    launch(redis);
    /* The port is known to the code under test, so only the same one will do. */
    if (wait && !wait_ready(redis))
        stop_test("redis-server does not come back to its port");
}

void sc_test_redis_pause(sc_test_redis *redis)
{
    kill(redis->pid, SIGSTOP);
}

void sc_test_redis_resume(sc_test_redis *redis)
{
    kill(redis->pid, SIGCONT);
}

static redisReply *call(sc_test_redis *redis, const char *format, va_list args)
{
    redisContext *context = dial(redis);
    redisReply   *reply = context == NULL ? NULL : redisvCommand(context, format, args);

    if (reply == NULL)
        stop_test(format);
    redisFree(context);
    return reply;
}

redisReply *sc_test_redis_call(sc_test_redis *redis, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = call(redis, format, args);
    va_end(args);
    return reply;
}

long long sc_test_redis_integer(sc_test_redis *redis, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    redisReply *reply = call(redis, format, args);
    va_end(args);
    long long value = -1;
    if (reply->type == REDIS_REPLY_INTEGER)
        value = reply->integer;
    else if (reply->type == REDIS_REPLY_ARRAY)
        value = (long long)reply->elements;
    freeReplyObject(reply);
    return value;
}
