/* redis.h - a real Redis with search for one test: started, and treated badly.
 *
 * Each server is a child process with its own folder and a free port, and dies with the test.
 * Functions stop the test with a message when the machine does not do what they need; only a
 * Redis that is not installed is an ordinary answer. One thread. */
#pragma once

#include <stdbool.h>

#include <hiredis/hiredis.h>

typedef struct sc_test_redis sc_test_redis;

/* A running, empty server, ready for commands. args: further words of its command line, ended by
 * NULL; or NULL. Gives NULL, after a loud line, when Redis is not installed: skip() the test. With
 * SEMCACHE_REQUIRE=1 in the environment that is a failure instead. */
sc_test_redis *sc_test_redis_start(const char *const *args);

/* Kills the server and removes its folder. NULL is welcome. */
void sc_test_redis_stop(sc_test_redis *redis);

/* A port of loopback that nobody listens on. */
int sc_test_free_port(void);

/* "redis://127.0.0.1:port" */
const char *sc_test_redis_url(const sc_test_redis *redis);
int         sc_test_redis_port(const sc_test_redis *redis);

/* SIGKILL: all data is gone. restart brings an empty server to the same port, and waits for it
 * unless `wait` is false. */
void sc_test_redis_kill(sc_test_redis *redis);
void sc_test_redis_restart(sc_test_redis *redis, bool wait);

/* SIGSTOP and SIGCONT: connections stay, nothing answers. */
void sc_test_redis_pause(sc_test_redis *redis);
void sc_test_redis_resume(sc_test_redis *redis);

/* One command over a connection of its own, in hiredis' format; the caller frees the reply. */
redisReply *sc_test_redis_call(sc_test_redis *redis, const char *format, ...);

/* The same for a command whose reply is an integer or the length of an array; -1 for an error. */
long long sc_test_redis_integer(sc_test_redis *redis, const char *format, ...);
