/* lock_profile - who takes which lock how often, and how often it was not free.
 *
 * A library to be preloaded: it stands before pthread's mutexes and read-write locks (ours, libuv's,
 * libcurl's) and before absl::Mutex::Lock (gRPC's, in Debian's build). A lock is tried first; when
 * that fails it is counted as contended, and the wait is timed. What a condition variable does to
 * its mutex after a wait is not seen. At exit, LOCK_PROFILE receives a line per call site:
 *
 *     MODULE OFFSET TAKEN CONTENDED WAITED_NS
 *
 * SIGUSR2 forgets what was counted so far, the start of the program for instance. */
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SITES_MAX = 4096 };

typedef struct {
    _Atomic(uintptr_t) caller;
    atomic_ullong      taken, contended, waited_ns;
} site;

static site sites[SITES_MAX]; /* open addressing; enough for all call sites there are */

static site *site_of(const void *caller)
{
    uintptr_t key = (uintptr_t)caller;
    for (size_t i = key / 4; ; i++) {
        site     *s = &sites[i % SITES_MAX];
        uintptr_t held = 0;
        if (atomic_compare_exchange_strong(&s->caller, &held, key) || held == key)
            return s;
    }
}

static unsigned long long now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (unsigned long long)t.tv_sec * 1000000000U + (unsigned long long)t.tv_nsec;
}

/* The next definition of a name: ISO C knows no cast from an object's pointer to a function's. */
static void find(const char *name, void *function)
{
    void *found = dlsym(RTLD_NEXT, name);
    memcpy(function, &found, sizeof found);
}

/* One lock operation: tried, or waited for. The names are looked up at the first call, which may
 * come before any constructor of ours. */
#define STAND_BEFORE(name, label, try_label, type, is_taken)                                       \
    int name(type *lock) __asm__(label);                                                           \
    int name(type *lock)                                                                           \
    {                                                                                              \
        static int (*wait)(type *);                                                                \
        static int (*try)(type *);                                                                 \
        if (wait == NULL) {                                                                        \
            find(try_label, &try);                                                                 \
            find(label, &wait);                                                                    \
        }                                                                                          \
        site *s = site_of(__builtin_return_address(0));                                            \
        atomic_fetch_add_explicit(&s->taken, 1, memory_order_relaxed);                             \
        if (is_taken)                                                                              \
            return 0;                                                                              \
        unsigned long long begin = now_ns();                                                       \
        atomic_fetch_add_explicit(&s->contended, 1, memory_order_relaxed);                         \
        int status = wait(lock);                                                                   \
        atomic_fetch_add_explicit(&s->waited_ns, now_ns() - begin, memory_order_relaxed);          \
        return status;                                                                             \
    }

/* C++ passes the object as the first argument, so a method can be written in C. Lock() gives nothing;
 * nobody looks at what this one gives. */
typedef struct absl_mutex absl_mutex;

STAND_BEFORE(mutex_lock, "pthread_mutex_lock", "pthread_mutex_trylock", pthread_mutex_t,
             try(lock) == 0)
STAND_BEFORE(read_lock, "pthread_rwlock_rdlock", "pthread_rwlock_tryrdlock", pthread_rwlock_t,
             try(lock) == 0)
STAND_BEFORE(write_lock, "pthread_rwlock_wrlock", "pthread_rwlock_trywrlock", pthread_rwlock_t,
             try(lock) == 0)
STAND_BEFORE(absl_lock, "_ZN4absl7debian35Mutex4LockEv", "_ZN4absl7debian35Mutex7TryLockEv",
             absl_mutex, (try(lock) & 1) != 0)

static void forget(int number)
{
    (void)number;
    for (size_t i = 0; i < SITES_MAX; i++) {
        atomic_store(&sites[i].taken, 0);
        atomic_store(&sites[i].contended, 0);
        atomic_store(&sites[i].waited_ns, 0);
    }
}

__attribute__((constructor)) static void begin(void)
{
    signal(SIGUSR2, forget);
}

static void print_site(FILE *file, const site *s)
{
    Dl_info   info = {0};
    uintptr_t caller = atomic_load(&s->caller);
    if (caller == 0 || atomic_load(&s->taken) == 0 ||
        dladdr((void *)caller, &info) == 0) /* NOLINT: an address, as it came */
        return;
    fprintf(file, "%s %#zx %llu %llu %llu\n", info.dli_fname, caller - (uintptr_t)info.dli_fbase - 1,
            atomic_load(&s->taken), atomic_load(&s->contended), atomic_load(&s->waited_ns));
}

__attribute__((destructor)) static void end(void)
{
    const char *path = getenv("LOCK_PROFILE");
    FILE       *file = path == NULL ? NULL : fopen(path, "w");
    for (size_t i = 0; file != NULL && i < SITES_MAX; i++)
        print_site(file, &sites[i]);
    if (file != NULL)
        fclose(file);
}
