#include "tests/support/fail_malloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/cmocka.h"

static _Thread_local unsigned countdown; /* 0: disarmed */
static _Thread_local bool     has_failed;

void sc_fail_malloc_arm(unsigned n)
{
    countdown = n;
    has_failed = false;
}

bool sc_fail_malloc_disarm(void)
{
    countdown = 0;
    return has_failed;
}

unsigned sc_fail_malloc_each(bool (*body)(void *context), void *context)
{
    for (unsigned n = 1;; n++) {
        sc_fail_malloc_arm(n);
        bool succeeded = body(context);
        if (!sc_fail_malloc_disarm()) {
            assert_true(succeeded);
            return n - 1;
        }
    }
}

static bool fails_now(void)
{
    if (countdown == 0 || --countdown != 0)
        return false;
    has_failed = true;
    errno = ENOMEM;
    return true;
}

/* The linker sends calls of X to __wrap_X, and __real_X to X. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int   __real_posix_memalign(void **memory, size_t alignment, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int   __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

void *__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails_now() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, size);
}

int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return fails_now() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return fails_now() ? NULL : __real_strndup(text, len);
}
