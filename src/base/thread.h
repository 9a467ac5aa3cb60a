/* thread.h - the few things pthreads leave to each platform. */
#pragma once

#include <pthread.h>

/* Starts a thread that takes no signals: they belong to the main thread. SIGPIPE above all, since
 * OpenSSL writes without MSG_NOSIGNAL. Gives 0, or what pthread_create() gave. */
int sc_thread_start(pthread_t *thread, void *(*run)(void *), void *argument);

/* Names the calling thread, for debuggers and top; the first 15 characters count. */
void sc_thread_name(const char *name);

/* Asks the scheduler to run the calling thread soon whenever it wakes: for threads that others wait
 * for and that work in short pieces. Linux 6.12 and up listen; elsewhere nothing happens. */
void sc_thread_prompt(void);

/* Processors this process may use, at least 1. */
unsigned sc_cpu_count(void);
