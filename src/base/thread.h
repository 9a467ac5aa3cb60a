/* thread.h - the few things pthreads leave to each platform. */
#pragma once

/* Names the calling thread, for debuggers and top; the first 15 characters count. */
void sc_thread_name(const char *name);

/* Processors this process may use, at least 1. */
unsigned sc_cpu_count(void);
