/* encoder_bench - what the built-in encoder costs, beside the processor's own limit.
 *
 *     bazel run -c opt //tests/bench:encoder_bench -- --seconds 1 --kernel avx2 --weights float32
 *         --pass "1 question" --threads-max 1
 *
 * Each option may be left out; --kernel best is what the server takes; --quick only shows that it
 * works. --drift measures no time: it says how far the cosines of any two golden texts are from
 * those of the model's authors.
 *
 * Each row: milliseconds of CPU and of wall time per pass and per text (medians of repeated passes),
 * and the arithmetic done as a share of what a loop of nothing but fused multiply-adds reaches on
 * one core, measured between the passes, so that a processor that changes its clock, or is shared,
 * spoils both alike. With two threads each works on its own passes, as the provider's workers do. */
#include <cblas.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/embed/local/encoder.h"
#include "src/embed/local/local.h"
#include "tests/unit/embed/local/golden.h"

enum { PASSES_MAX = 4096, TEXTS_MAX = 128, WARM_UPS = 2 };

typedef struct {
    const char *name;
    size_t      texts, tokens; /* tokens in each */
} load_case;

static const load_case cases[] = {
    {"1 question", 1, 12},    {"8 questions", 8, 12},     {"32 questions", 32, 12},
    {"128 questions", 128, 12}, {"1 text of 128", 1, 128}, {"1 text of 256", 1, 256},
};

typedef struct {
    const sc_weights *weights;
    const load_case  *load;
    double            seconds; /* to spend */
    /* Results. */
    double cpu_ms, wall_ms, peak_gflops;
} work;

static double now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- The limit: independent chains of fused multiply-adds in registers ---- */

/* Named variables, not an array: those stay in registers whatever the compiler's options. */
#define PEAK_CHAINS(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)
#define PEAK_START(i) vec s##i = x + (float)(i);
#define PEAK_STEP(i) s##i = s##i * x + y;
#define PEAK_END(i)                                                                                \
    for (size_t lane = 0; lane < sizeof(vec) / 4; lane++)                                          \
        sink[2] += s##i[lane];

#define PEAK_LOOP(name, lanes, target)                                                             \
    target static double name(long steps, float *sink)                                             \
    {                                                                                              \
        typedef float vec __attribute__((vector_size(4 * (lanes))));                               \
        vec           x = (vec){0} + sink[0], y = (vec){0} + sink[1];                              \
        PEAK_CHAINS(PEAK_START)                                                                    \
        for (long step = 0; step < steps; step++) {                                                \
            PEAK_CHAINS(PEAK_STEP)                                                                 \
        }                                                                                          \
        PEAK_CHAINS(PEAK_END)                                                                      \
        return 2.0 * (lanes) * 12 * (double)steps;                                                 \
    }

#if defined(__x86_64__)
PEAK_LOOP(peak_avx512, 16, __attribute__((target("avx512f,fma"))))
PEAK_LOOP(peak_avx2, 8, __attribute__((target("avx2,fma"))))
#else
PEAK_LOOP(peak_baseline, 4, )
#endif

static double run_peak(long steps, float *sink)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return peak_avx512(steps, sink);
    return __builtin_cpu_supports("fma") ? peak_avx2(steps, sink) : 0;
#else
    return peak_baseline(steps, sink);
#endif
}

/* GFLOP per second of this thread's CPU time, over about a millisecond. */
static double measure_peak(void)
{
    float  sink[3] = {0.999f, 0.001f, 0};
    double start = now_ms(CLOCK_THREAD_CPUTIME_ID);
    double flop = run_peak(200000, sink);
    return flop / (now_ms(CLOCK_THREAD_CPUTIME_ID) - start) / 1e6;
}

/* ---- Passes ---- */

static double flop_of(const load_case *load)
{
    double per_layer = 2.0 * SC_MODEL_DIM * (4.0 * SC_MODEL_DIM + 2.0 * SC_MODEL_HIDDEN);
    double attention = 4.0 * (double)load->tokens * SC_MODEL_DIM; /* per token and layer */
    return (double)(load->texts * load->tokens) * SC_MODEL_LAYERS * (per_layer + attention);
}

static void fill_text(sc_tokens *text, size_t count, size_t seed)
{
    text->count = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        text->ids[i] = (uint16_t)(1000 + (seed * 7919 + i * 104729) % 20000);
    text->ids[0] = 101;
    text->ids[count - 1] = 102;
}

typedef struct {
    sc_tokens        tokens[TEXTS_MAX];
    const sc_tokens *texts[TEXTS_MAX];
    float           *vectors[TEXTS_MAX];
    float            floats[TEXTS_MAX][SC_MODEL_DIM];
    double           cpu[PASSES_MAX], wall[PASSES_MAX], peak[PASSES_MAX];
} desk;

static void encode(const work *w, const desk *d, sc_encoder_space *space)
{
    size_t at_once = SC_ENCODER_TOKENS_MAX / w->load->tokens;
    for (size_t at = 0; at < w->load->texts; at += at_once) {
        size_t count = w->load->texts - at < at_once ? w->load->texts - at : at_once;
        sc_encoder_run(w->weights, space, d->texts + at, d->vectors + at, count);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return values[count / 2];
}

static void measure(work *w, desk *d, sc_encoder_space *space)
{
    size_t passes = 0;
    double end = now_ms(CLOCK_MONOTONIC) + w->seconds * 1e3;
    for (int i = 0; i < WARM_UPS; i++)
        encode(w, d, space);
    while (passes < PASSES_MAX && (passes < 3 || now_ms(CLOCK_MONOTONIC) < end)) {
        d->peak[passes] = measure_peak();
        double wall = now_ms(CLOCK_MONOTONIC), cpu = now_ms(CLOCK_THREAD_CPUTIME_ID);
        encode(w, d, space);
        d->cpu[passes] = now_ms(CLOCK_THREAD_CPUTIME_ID) - cpu;
        d->wall[passes++] = now_ms(CLOCK_MONOTONIC) - wall;
    }
    w->cpu_ms = median(d->cpu, passes);
    w->wall_ms = median(d->wall, passes);
    w->peak_gflops = median(d->peak, passes);
}

static void *run_thread(void *arg)
{
    work             *w = arg;
    sc_encoder_space *space;
    desk             *d = calloc(1, sizeof *d);
    if (d == NULL || sc_encoder_space_open(&space) != SC_OK)
        abort();
    for (size_t i = 0; i < w->load->texts; i++) {
        fill_text(&d->tokens[i], w->load->tokens, i);
        d->texts[i] = &d->tokens[i];
        d->vectors[i] = d->floats[i];
    }
    measure(w, d, space);
    sc_encoder_space_close(space);
    free(d);
    return NULL;
}

static void run_case(const sc_weights *weights, const load_case *load, int threads, double seconds)
{
    work      works[2];
    pthread_t ids[2];
    for (int i = 0; i < threads; i++) {
        works[i] = (work){.weights = weights, .load = load, .seconds = seconds};
        if (pthread_create(&ids[i], NULL, run_thread, &works[i]) != 0)
            abort();
    }
    double cpu = 0, wall = 0, peak = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        cpu += works[i].cpu_ms / threads;
        wall += works[i].wall_ms / threads;
        peak += works[i].peak_gflops / threads;
    }
    double gflops = flop_of(load) / cpu / 1e6;
    printf("%-14s %7d %9.2f %9.2f %9.3f %9.1f %9.1f %6.0f %%\n", load->name, threads, cpu, wall,
           cpu / (double)load->texts, gflops, peak, 100 * gflops / peak);
    fflush(stdout);
}

/* What to measure; NULL: all. */
typedef struct {
    const char *kernel, *weights, *pass;
    double      seconds; /* for each row */
    int         threads_max;
} choice;

static bool wanted(const char *option, const char *name)
{
    return option == NULL || strcmp(option, name) == 0;
}

static int run_all(const sc_kernel *kernel, bool float16, const choice *chosen)
{
    char        folder[4096];
    sc_error    error = {0};
    sc_weights *weights;
    if (!sc_local_model_dir(folder, sizeof folder) ||
        sc_weights_open(folder, kernel, float16, &weights, &error) != SC_OK) {
        printf("[  SKIPPED ] no model (bazel/install brings it): %s\n", error.text);
        return getenv("SEMCACHE_REQUIRE") != NULL;
    }
    printf("\n%s, %s weights\n%-14s %7s %9s %9s %9s %9s %9s %8s\n", kernel->name,
           float16 ? "float16" : "float32", "pass", "threads", "cpu ms", "wall ms", "cpu/text",
           "GFLOP/s", "peak", "share");
    for (int threads = 1; threads <= chosen->threads_max; threads++)
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
            if (wanted(chosen->pass, cases[i].name))
                run_case(weights, &cases[i], threads, chosen->seconds);
    sc_weights_close(weights);
    return 0;
}

/* ---- Drift ---- */

enum { GOLDEN_MAX = 256 };

typedef struct {
    sc_tokens    tokens;
    const float *expected; /* [GOLDEN_DIM] */
    float        vector[GOLDEN_DIM];
} gold;

static size_t encode_golds(const golden_file *file, const sc_weights *weights, gold *golds)
{
    size_t            count = 0;
    sc_encoder_space *space;
    if (sc_encoder_space_open(&space) != SC_OK)
        abort();
    for (size_t i = 0; i < file->count && count < GOLDEN_MAX; i++) {
        if (file->texts[i].note != SC_EMBED_USABLE)
            continue;
        gold *g = &golds[count++];
        g->expected = file->texts[i].vector;
        g->tokens.count = (uint32_t)file->texts[i].ids_count;
        memcpy(g->tokens.ids, file->texts[i].ids, sizeof g->tokens.ids);
        sc_encoder_run(weights, space, &(const sc_tokens *){&g->tokens}, &(float *){g->vector}, 1);
    }
    sc_encoder_space_close(space);
    return count;
}

static double worst_drift(const gold *golds, size_t count)
{
    double worst = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < i; j++)
            worst = fmax(worst, fabs(golden_cosine(golds[i].vector, golds[j].vector) -
                                     golden_cosine(golds[i].expected, golds[j].expected)));
    return worst;
}

static void print_drifts(void)
{
    golden_file file = golden_open();
    gold       *golds = calloc(GOLDEN_MAX, sizeof *golds);
    for (int float16 = 0; float16 <= 1; float16++) {
        sc_error    error = {0};
        sc_weights *weights;
        if (golds == NULL || sc_weights_open(golden_model_dir(), sc_kernel_best(), float16 == 1,
                                             &weights, &error) != SC_OK)
            abort();
        size_t count = encode_golds(&file, weights, golds);
        printf("%s drift %.7f of %zu texts\n", float16 ? "float16" : "float32",
               worst_drift(golds, count), count);
        sc_weights_close(weights);
    }
    free(golds);
    golden_close(&file);
}

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

static const char *or(const char *value, const char *otherwise)
{
    return value == NULL ? otherwise : value;
}

static bool kernel_wanted(const choice *chosen, const sc_kernel *kernel)
{
    if (chosen->kernel != NULL && strcmp(chosen->kernel, "best") == 0)
        return kernel == sc_kernel_best();
    return kernel->available() && wanted(chosen->kernel, kernel->name);
}

int main(int argc, char **argv)
{
    choice chosen = {.kernel = option(argc, argv, "--kernel"),
                     .weights = option(argc, argv, "--weights"),
                     .pass = option(argc, argv, "--pass"),
                     .seconds = atof(or(option(argc, argv, "--seconds"), "0.5")),
                     .threads_max = atoi(or(option(argc, argv, "--threads-max"), "2"))};
    int    failed = 0;
    openblas_set_num_threads(1);
    if (argc == 2 && strcmp(argv[1], "--drift") == 0) {
        print_drifts();
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--quick") == 0)
        chosen = (choice){.kernel = "best", .weights = "float32", .threads_max = 1};
    for (size_t i = 0; i < sc_kernels_count; i++)
        for (int float16 = 0; float16 <= 1; float16++)
            if (kernel_wanted(&chosen, sc_kernels[i]) &&
                wanted(chosen.weights, float16 ? "float16" : "float32"))
                failed |= run_all(sc_kernels[i], float16, &chosen);
    return failed;
}
