#include "src/warm/kernels/kernels.h"

#include <pthread.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#ifndef HWCAP_ASIMDDP
#define HWCAP_ASIMDDP (1 << 20)
#endif
#endif

enum { SETS_MAX = 4 };

static const sc_kernels *sets[SETS_MAX];
static size_t            sets_used;

static void add(const sc_kernels *set)
{
    sets[sets_used++] = set;
}

static void look(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    int bw = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (bw && __builtin_cpu_supports("avx512vnni"))
        add(&sc_kernels_avx512vnni);
    if (bw)
        add(&sc_kernels_avx512bw);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        add(&sc_kernels_avx2);
#elif defined(__aarch64__)
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP)
        add(&sc_kernels_neon_dotprod);
    add(&sc_kernels_neon);
#endif
    add(&sc_kernels_plain);
}

const sc_kernels *const *sc_kernels_list(size_t *count)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, look);
    *count = sets_used;
    return sets;
}
