/* fail_malloc.h - what happens when memory runs out, at each place where it can.
 *
 * A test that links this has malloc, calloc, realloc, aligned_alloc, posix_memalign, strdup and
 * strndup wrapped in our own code (libraries are not touched). Failures are armed for the
 * calling thread alone. */
#pragma once

#include <stdbool.h>

/* The n-th allocation from now on fails, and only that one; 0: none. */
void sc_fail_malloc_arm(unsigned n);

/* Ends it. True: an allocation has failed since it was armed. */
bool sc_fail_malloc_disarm(void);

/* Calls body until it gets by without a failure: in the n-th run its n-th allocation fails. body
 * says whether it succeeded, checks for itself that a failure changed nothing, and frees all (the
 * address sanitizer looks for leaks). Fails the test when a run without a failure did not succeed.
 * Returns the number of allocations that failed, one a run. */
unsigned sc_fail_malloc_each(bool (*body)(void *context), void *context);
