/* server.h - a real semcached for one test: a child process on a free port, with its log at hand.
 *
 * Functions stop the test with a message when the machine does not do what they need. One thread. */
#pragma once

#include <stdbool.h>

#include <sys/types.h>

typedef struct sc_test_server sc_test_server;

/* A server that answers. Variables are "NAME=value" words ended by NULL; beside them it gets LISTEN
 * on a free port of loopback, and of the test's environment only where the model is. */
sc_test_server *sc_test_server_start(const char *const *variables);

/* The same, without waiting; for a server that is expected to refuse. */
sc_test_server *sc_test_server_spawn(const char *const *variables, const char *const *flags);

/* Waits until it has ended. Gives its exit code, or 128 + signal, or 256 + signal when the kernel dumped
 * its core. */
int sc_test_server_wait(sc_test_server *server);

/* SIGTERM, and waits. Gives the exit code. */
int sc_test_server_terminate(sc_test_server *server);

/* SIGKILL. */
void sc_test_server_kill(sc_test_server *server);

/* Ends it with SIGTERM if it runs, stops the test when its exit code is not 0 (a leak, a race), and
 * forgets it. NULL is welcome. */
void sc_test_server_stop(sc_test_server *server);

pid_t sc_test_server_pid(const sc_test_server *server);

/* "127.0.0.1:port" */
const char *sc_test_server_target(const sc_test_server *server);

/* What it has logged so far; to be freed. */
char *sc_test_server_log(const sc_test_server *server);
