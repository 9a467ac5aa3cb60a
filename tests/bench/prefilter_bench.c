/* What the prefilter costs, beside what merely reading its bytes costs, and OpenBLAS.
 *
 *   prefilter_bench           the whole table, about two minutes and 1.5 GB
 *   prefilter_bench --best    without the kernels that this processor has beside its best
 *   prefilter_bench --quick   small sizes, two seconds: does it work at all
 *   prefilter_bench --check   1 000 questions over 100 000 rows: are int8's answers float32's
 *
 * CPU time of the calling thread, since the machine may be busy: the median of several
 * rounds, and the spread from the first to the third quartile. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cblas.h>

#include "src/warm/prefilter.h"
#include "src/warm/warm.h"

enum { ROUNDS_MAX = 15, K = 5, QUERIES_MAX = 32 };

/* Less in a quick run. */
static size_t rounds_used = ROUNDS_MAX;
static double round_ns = 5e6;

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void *need(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return memory;
}

/* Measuring */

typedef struct {
    double median, low, high; /* ns per call */
} figure;

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y ? 1 : 0;
}

/* As many calls per round as take at least round_ns. */
static figure measure(void (*call)(void *), void *arg)
{
    double rounds[ROUNDS_MAX], once = cpu_ns();
    call(arg);
    once = cpu_ns() - once;
    size_t calls = once > round_ns ? 1 : (size_t)(round_ns / (once + 1)) + 1;
    for (size_t r = 0; r < rounds_used; r++) {
        double start = cpu_ns();
        for (size_t i = 0; i < calls; i++)
            call(arg);
        rounds[r] = (cpu_ns() - start) / (double)calls;
    }
    qsort(rounds, rounds_used, sizeof rounds[0], ascending);
    return (figure){rounds[rounds_used / 2], rounds[rounds_used / 4], rounds[3 * rounds_used / 4]};
}

/* Data */

static uint64_t seed = 1;

static uint64_t next(void)
{
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Near enough to a normal distribution, and quick. */
static float bell(void)
{
    uint64_t n = next();
    int64_t  sum = (int64_t)(n & 0xffff) + (int64_t)(n >> 16 & 0xffff) +
                  (int64_t)(n >> 32 & 0xffff) + (int64_t)(n >> 48);
    return (float)(sum - 2 * 65535) / 37837;
}

/* A unit vector around centre (NULL: anywhere). */
static void make_vector(float *vector, size_t dim, const float *centre, float spread)
{
    float scale = spread / sqrtf((float)dim), length;
    for (size_t i = 0; i < dim; i++)
        vector[i] = bell() * (centre == NULL ? 1 : scale) + (centre == NULL ? 0 : centre[i]);
    length = sc_length(vector, dim);
    for (size_t i = 0; i < dim; i++)
        vector[i] /= length;
}

typedef struct {
    sc_matrix         matrix;
    sc_scratch       *scratch;
    sc_row           *rows;
    sc_entry         *entry; /* all rows share it: entries are not what is measured */
    const sc_kernels *kernels;
    float            *questions; /* [QUERIES_MAX, dim] */
    sc_warm_query     queries[QUERIES_MAX];
    sc_candidate      hits[QUERIES_MAX][K];
    size_t            count;
    sc_warm_pass      pass;
    uint64_t          sum; /* keeps the reads */
} subject;

enum { CENTRES = 64 };

static subject *make_subject(size_t rows, uint32_t dim, bool clustered)
{
    subject        *s = need(calloc(1, sizeof *s));
    float          *vector = need(malloc((CENTRES + 1) * dim * sizeof *vector));
    sc_entry_fields fields = {.expires = {INT64_MAX}};
    sc_matrix_init(&s->matrix, dim);
    s->scratch = need(sc_scratch_make(dim));
    s->entry = need(sc_entry_make(&fields));
    s->rows = need(calloc(rows, sizeof *s->rows));
    s->questions = need(malloc(QUERIES_MAX * dim * sizeof *s->questions));
    s->kernels = sc_kernels_best();
    for (size_t c = 1; c <= CENTRES; c++)
        make_vector(vector + c * dim, dim, NULL, 0);
    for (size_t i = 0; i < rows; i++) {
        make_vector(vector, dim, clustered ? vector + (1 + next() % CENTRES) * dim : NULL, 0.4f);
        s->rows[i].entry = s->entry;
        if (sc_matrix_add(&s->matrix, &s->rows[i], vector, 1) != SC_OK)
            need(NULL);
    }
    for (size_t q = 0; q < QUERIES_MAX; q++) {
        const float *centre = clustered ? vector + (1 + q) * dim : NULL;
        make_vector(s->questions + q * dim, dim, centre, 0.4f);
    }
    free(vector);
    return s;
}

static void free_subject(subject *s)
{
    sc_matrix_fini(&s->matrix);
    sc_scratch_free(s->scratch);
    sc_entry_unref(s->entry);
    free(s->rows);
    free(s->questions);
    free(s);
}

/* What is measured */

static void drop_hits(sc_warm_query *query)
{
    sc_candidates_unref(query->hits, query->hits_used);
    sc_entry_unref(query->refused.entry);
}

static void search(void *arg)
{
    subject *s = arg;
    for (size_t q = 0; q < s->count; q++)
        s->queries[q] = (sc_warm_query){
            .vector = s->questions + q * s->matrix.dim, .hits = s->hits[q], .k = K};
    sc_prefilter(&s->matrix, s->kernels, s->pass, s->scratch, (sc_wall){0}, s->queries, s->count);
    for (size_t q = 0; q < s->count; q++)
        drop_hits(&s->queries[q]);
}

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define WIDEST_LOADS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDEST_LOADS
#endif

typedef uint64_t wide __attribute__((vector_size(64)));

WIDEST_LOADS static uint64_t read_bytes(const void *from, size_t bytes)
{
    const wide *line = from;
    wide        a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 3 < bytes / sizeof *line; i += 4) {
        a ^= line[i];
        b ^= line[i + 1];
        c ^= line[i + 2];
        d ^= line[i + 3];
    }
    a ^= b ^ c ^ d;
    return a[0] ^ a[1] ^ a[2] ^ a[3] ^ a[4] ^ a[5] ^ a[6] ^ a[7];
}

static void read_floats(void *arg)
{
    subject *s = arg;
    for (size_t c = 0; c < s->matrix.chunks_used; c++) {
        const sc_chunk *chunk = &s->matrix.chunks[c];
        s->sum += read_bytes(chunk->vectors, chunk->room * s->matrix.stride * sizeof(float));
    }
}

static void read_codes(void *arg)
{
    subject *s = arg;
    for (size_t c = 0; c < s->matrix.chunks_used; c++) {
        const sc_chunk *chunk = &s->matrix.chunks[c];
        if (chunk->codes != NULL)
            s->sum += read_bytes(chunk->codes, chunk->room * s->matrix.code_stride);
    }
}

static void print_search(subject *s, const char *name, sc_warm_pass pass, size_t count,
                         double read_ns)
{
    s->pass = pass;
    s->count = count;
    figure f = measure(search, s);
    double per = (double)s->matrix.rows_used * (double)count;
    printf("%8zu %5u %4zu  %-8s %9.2f %9.2f..%-9.2f", s->matrix.rows_used, s->matrix.dim, count,
           name, f.median / per, f.low / per, f.high / per);
    if (count == 1 && !isnan(read_ns))
        printf(" %6.0f%%", 100 * read_ns / f.median);
    printf("\n");
}

static double print_read(subject *s, const char *name, void (*read)(void *), size_t row_bytes)
{
    figure f = measure(read, s);
    double rows = 0;
    for (size_t c = 0; c < s->matrix.chunks_used; c++)
        rows += (double)s->matrix.chunks[c].room;
    /* Of the rows in use: the last chunk is read to its end. */
    double share = (double)s->matrix.rows_used / rows;
    printf("%8zu %5u    -  %-8s %9.2f %9.2f..%-9.2f         %6.1f GB/s\n", s->matrix.rows_used,
           s->matrix.dim, name, f.median / rows, f.low / rows, f.high / rows,
           (double)row_bytes * rows / f.median);
    return f.median * share;
}

static void table_of(size_t rows, uint32_t dim)
{
    subject *s = make_subject(rows, dim, false);
    double floats = print_read(s, "read f32", read_floats, s->matrix.stride * sizeof(float));
    double codes = print_read(s, "read i8", read_codes, s->matrix.code_stride);
    for (size_t count = 1; count <= QUERIES_MAX; count *= count == 1 ? 8 : 4) {
        print_search(s, "int8", SC_WARM_PASS_INT8, count, codes);
        print_search(s, "float32", SC_WARM_PASS_FLOAT, count, floats);
        print_search(s, "openblas", SC_WARM_PASS_BLAS, count, floats);
    }
    free_subject(s);
}

/* Each kernel set of this processor; and clustered rows, of which more are ranked again. */
static void kernels_table(size_t rows, uint32_t dim)
{
    size_t                   sets_count;
    const sc_kernels *const *sets = sc_kernels_list(&sets_count);
    for (int clustered = 0; clustered < 2; clustered++) {
        subject *s = make_subject(rows, dim, clustered);
        for (size_t i = 0; i < (clustered ? 1 : sets_count); i++) {
            s->kernels = sets[i];
            printf("%s%s\n", sets[i]->name, clustered ? ", clustered rows" : "");
            for (size_t count = 1; count <= QUERIES_MAX; count *= count == 1 ? 8 : 4) {
                print_search(s, "int8", SC_WARM_PASS_INT8, count, NAN);
                print_search(s, "float32", SC_WARM_PASS_FLOAT, count, NAN);
            }
        }
        free_subject(s);
    }
}

/* Growth: the same total in one scope and in many */


static sc_digest digest_of(const char *kind, uint64_t n)
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, sc_str_of(kind));
    sc_hasher_u64(&hasher, n);
    return sc_hasher_final(&hasher);
}

/* Digests are made beforehand: hashing is the caller's cost. */
static sc_digest *digests(const char *kind, size_t count)
{
    sc_digest *all = need(malloc(count * sizeof *all));
    for (size_t i = 0; i < count; i++)
        all[i] = digest_of(kind, i);
    return all;
}

static sc_warm *open_warm(uint32_t dim, size_t bytes_max)
{
    sc_warm_options options = {.dim = dim, .bytes_max = bytes_max};
    sc_warm        *warm;
    if (sc_warm_open(&options, &warm) != SC_OK)
        need(NULL);
    return warm;
}

static sc_entry *make_entry(sc_digest id, sc_digest scope)
{
    sc_entry_fields fields = {.id = id,
                              .scope = scope,
                              .version = 1,
                              .expires = {INT64_MAX},
                              .answer = SC_STR("an answer of some length, as a test has it")};
    return need(sc_entry_make(&fields));
}

/* Puts an entry for each id, scopes in turn; ns of CPU per call. */
static double put_ns(sc_warm *warm, uint32_t dim, const sc_digest *ids, size_t count,
                     const sc_digest *scopes, size_t scopes_count)
{
    float *vector = need(malloc(dim * sizeof *vector));
    double ns = 0;
    for (size_t i = 0; i < count; i++) {
        sc_entry *entry = make_entry(ids[i], scopes[i % scopes_count]);
        make_vector(vector, dim, NULL, 0);
        ns -= cpu_ns();
        if (sc_warm_put(warm, entry, vector) != SC_OK)
            need(NULL);
        ns += cpu_ns();
        sc_entry_unref(entry);
    }
    free(vector);
    return ns / (double)count;
}

static double exact_ns(sc_warm *warm, const sc_digest *ids, size_t count, size_t calls)
{
    double start = cpu_ns();
    for (size_t i = 0; i < calls; i++)
        sc_entry_unref(sc_warm_exact(warm, &ids[next() % count], (sc_wall){0}));
    return (cpu_ns() - start) / (double)calls;
}

static double search_ns(sc_warm *warm, uint32_t dim, const sc_digest *scopes, size_t count,
                        size_t calls)
{
    float *vector = need(malloc(dim * sizeof *vector));
    make_vector(vector, dim, NULL, 0);
    double start = cpu_ns();
    for (size_t i = 0; i < calls; i++) {
        sc_candidate  hits[K];
        sc_warm_query query = {.vector = vector, .hits = hits, .k = K};
        sc_warm_search(warm, &scopes[next() % count], (sc_wall){0}, &query, 1);
        drop_hits(&query);
    }
    free(vector);
    return (cpu_ns() - start) / (double)calls;
}

static void print_growth(size_t scopes, size_t each, uint32_t dim)
{
    size_t     total = scopes * each, calls = 20000;
    sc_warm   *warm = open_warm(dim, (size_t)4 << 30);
    sc_digest *ids = digests("id", total), *scope_ids = digests("scope", scopes);
    double     put = put_ns(warm, dim, ids, total, scope_ids, scopes);
    double     exact = exact_ns(warm, ids, total, calls);
    double     search = search_ns(warm, dim, scope_ids, scopes, each > 1000 ? 100 : calls);
    sc_warm_stats stats;
    sc_warm_look(warm, &stats);
    printf("%8zu %8zu %5u %9.0f %9.0f %10.0f %9.1f %9.0f\n", scopes, each, dim, put, exact, search,
           search / (double)each, (double)stats.bytes / (double)total - (double)dim * 4);
    sc_warm_close(warm);
    free(ids);
    free(scope_ids);
}

/* One scope, and twice as many entries again after its memory is full. */
static void print_beyond(size_t bytes_max, size_t total, uint32_t dim)
{
    sc_warm      *warm = open_warm(dim, bytes_max);
    sc_digest    *ids = digests("id", total), *scope = digests("scope", 1);
    sc_warm_stats full, after;
    put_ns(warm, dim, ids, total / 3, scope, 1);
    sc_warm_look(warm, &full);
    double at_budget = search_ns(warm, dim, scope, 1, 500);
    put_ns(warm, dim, ids + total / 3, total - total / 3, scope, 1);
    sc_warm_look(warm, &after);
    printf("beyond the budget of %zu bytes: %zu entries, search %.0f ns; %zu put, %zu entries, "
           "search %.0f ns\n",
           bytes_max, (size_t)full.entries, at_budget, total, (size_t)after.entries,
           search_ns(warm, dim, scope, 1, 500));
    sc_warm_close(warm);
    free(ids);
    free(scope);
}

/* Are the answers those of float32? */

static size_t differences(const subject *s, sc_warm_query *slow)
{
    size_t wrong = 0;
    for (size_t q = 0; q < s->count; q++) {
        sc_warm_query a = s->queries[q], b = slow[q];
        bool          same = a.hits_used == b.hits_used;
        for (size_t i = 0; same && i < a.hits_used; i++)
            same = a.hits[i].distance == b.hits[i].distance && a.hits[i].entry == b.hits[i].entry;
        wrong += !same;
    }
    return wrong;
}

/* Each row gets an entry of its own here, so that equal distances cannot hide another row. */
static void own_entries(subject *s)
{
    for (size_t i = 0; i < s->matrix.rows_used; i++) {
        sc_entry_fields fields = {.version = i, .expires = {INT64_MAX}};
        s->rows[i].entry = need(sc_entry_make(&fields));
    }
}

static size_t check(size_t rows, uint32_t dim, bool clustered, size_t questions)
{
    subject      *s = make_subject(rows, dim, clustered);
    size_t        wrong = 0, asked = 0;
    sc_warm_query slow[QUERIES_MAX];
    sc_candidate  hits[QUERIES_MAX][K];
    own_entries(s);
    for (; asked < questions; asked += s->count) {
        s->count = questions - asked < QUERIES_MAX ? questions - asked : QUERIES_MAX;
        for (size_t q = 0; q < s->count; q++) {
            float *question = s->questions + q * dim;
            make_vector(question, dim, clustered ? question : NULL, 0.4f);
            slow[q] = (sc_warm_query){.vector = question, .hits = hits[q], .k = K};
            s->queries[q] = (sc_warm_query){.vector = question, .hits = s->hits[q], .k = K};
        }
        sc_prefilter(&s->matrix, s->kernels, SC_WARM_PASS_INT8, s->scratch, (sc_wall){0},
                     s->queries, s->count);
        sc_prefilter(&s->matrix, s->kernels, SC_WARM_PASS_FLOAT, s->scratch, (sc_wall){0}, slow,
                     s->count);
        wrong += differences(s, slow);
        for (size_t q = 0; q < s->count; q++) {
            drop_hits(&s->queries[q]);
            drop_hits(&slow[q]);
        }
    }
    printf("%8zu %5u  %-9s %5zu questions: top %d differs from float32's in %zu\n", rows, dim,
           clustered ? "clustered" : "random", asked, K, wrong);
    for (size_t i = 0; i < rows; i++)
        sc_entry_unref(s->rows[i].entry);
    free_subject(s);
    return wrong;
}

static int check_all(size_t rows, size_t questions)
{
    size_t wrong = 0;
    for (uint32_t dim = 384; dim <= 1536; dim *= 4)
        for (int clustered = 0; clustered < 2; clustered++)
            wrong += check(rows, dim, clustered, questions);
    return wrong == 0 ? 0 : 1;
}

static void all_tables(size_t rows_max, size_t scopes, bool all_kernels)
{
    printf("kernels: %s. ns per row and query (read: per row); last column: share of the read "
           "limit.\n\n    rows   dim    q  how         median     quartiles\n",
           sc_kernels_best()->name);
    for (uint32_t dim = 384; dim <= 1536; dim *= 4)
        for (size_t rows = 1000; rows <= rows_max; rows *= 10)
            table_of(rows, dim);
    printf("\n");
    for (uint32_t dim = 384; all_kernels && dim <= 1536; dim *= 4)
        kernels_table(rows_max, dim);
    printf("\nThe same number of rows in one scope and in many; ns per call.\n\n"
           "  scopes     each   dim       put     exact     search   per row  B beside vector\n");
    print_growth(1, 10 * scopes, 384);
    print_growth(10, scopes, 384);
    print_growth(scopes / 100, 1000, 384);
    print_growth(scopes, 10, 384);
    print_growth(10 * scopes, 1, 384);
    print_beyond(scopes * 2400, scopes * 6, 384);
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    openblas_set_num_threads(1);
    if (strcmp(how, "--check") == 0)
        return check_all(100000, 1000);
    if (strcmp(how, "--quick") == 0) {
        rounds_used = 3;
        round_ns = 1e5;
        all_tables(1000, 100, true);
        return check_all(2000, 40);
    }
    all_tables(100000, 10000, strcmp(how, "--best") != 0);
    return 0;
}
