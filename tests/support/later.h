/* later.h - runs functions after a delay, on threads of its own: how a fake is slow. */
#pragma once

#include <stddef.h>
#include <stdint.h>

typedef struct later later;

later *later_open(unsigned threads);

/* Zeroed memory for a fake, which is not what is tested when memory runs out. */
void *later_alloc(size_t bytes);

/* Runs what waits, at once, then ends the threads. */
void later_close(later *of);

/* Any thread. */
void later_post(later *of, int64_t delay_us, void (*run)(void *argument), void *argument);
