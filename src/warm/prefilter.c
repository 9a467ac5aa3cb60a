/* How a search stays exact although it looks at every row in int8 first.
 *
 * A row x is s*c + e with |e| <= error, a query q is t*d + f with |f| <= its own error. Then
 *     q.x = t*s*(d.c) + q.e + f.(s*c)   <=   t*s*(d.c) + |q|*|e| + |f|*|s*c|
 * by Cauchy and Schwarz, and d.c is exact in integers. A row whose right side does not reach
 * the k-th best dot product found so far cannot be among the k nearest; any other is
 * computed again in float32 at once, and that figure alone decides. So the result is that of
 * a float32 pass over all rows, in whatever order they lie.
 *
 * Re-ranking at once was chosen over collecting candidates first: the limit is then an exact
 * figure instead of another lower bound, which halves the window of doubt (0.014 wide
 * at 384 dimensions), and no list needs memory or a ceiling. Of 100 000 random rows some 150 are
 * computed again; if all rows lie within the window, all are, and the search costs a quarter
 * more than a plain float32 pass.
 *
 * A question says from which distance on it has no use for more than the nearest. That spares most
 * of the ranking: a question with one near row in 10 000 spent a seventh of its time to put
 * rows in order that nobody would serve.
 *
 * The first few hundred rows have no codes: there, float32 comes from the cache as fast, and it
 * brings the limit near its final place before the first int8 row is looked at.
 *
 * Order of loops: a block of 64 rows stays in the first or second cache while all queries of
 * the batch pass over it, so memory is read once per batch. */
#include "src/warm/prefilter.h"

#include <assert.h>
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, BLAS_ROWS = 4 * SC_BLOCK_ROWS };

struct sc_scratch {
    float   *vectors;   /* [SC_BATCH_MAX, stride] */
    int8_t  *codes;     /* [SC_BATCH_MAX, code_stride] */
    int32_t  code_sums[SC_BATCH_MAX];
    void    *memory;

    /* Of a block: by kernels [SC_BATCH_MAX, SC_BLOCK_ROWS], by BLAS [SC_BATCH_MAX, BLAS_ROWS]. */
    float   dots_f32[SC_BATCH_MAX * BLAS_ROWS];
    int32_t dots_i8[SC_BATCH_MAX * SC_BLOCK_ROWS];
};

/* What the search knows of one query. */
typedef struct {
    sc_warm_query *query; /* until the end, hits and refused hold dot products as distance */
    const float   *vector;
    float          scale, length; /* of the codes; of the vector */
    float          doubt;         /* of its own codes against any row, and of float32 sums */
    float          floor;         /* dot product of the distance beyond which only the nearest counts */
    float          limit;         /* no row below it matters; see limit_of */
} probe;

typedef struct {
    const sc_matrix  *matrix;
    const sc_kernels *kernels;
    sc_scratch       *scratch;
    sc_wall           now;
    sc_warm_pass      pass;  /* never AUTO */
    bool              coded; /* some rows will be looked at in int8 */
    sc_batch          batch;
    probe             probes[SC_BATCH_MAX];
} sc_sweep;

sc_scratch *sc_scratch_make(uint32_t dim)
{
    sc_matrix shape;
    sc_matrix_init(&shape, dim);
    size_t      floats = SC_BATCH_MAX * shape.stride * sizeof(float);
    size_t      codes = SC_BATCH_MAX * shape.code_stride;
    sc_scratch *scratch = calloc(1, sizeof *scratch);
    char       *memory = malloc(floats + codes + LINE);
    if (scratch == NULL || memory == NULL) {
        free(scratch);
        free(memory);
        return NULL;
    }
    char *aligned = memory + (LINE - (uintptr_t)memory % LINE) % LINE;
    scratch->vectors = (float *)(void *)aligned;
    scratch->codes = (int8_t *)aligned + floats;
    scratch->memory = memory;
    return scratch;
}

void sc_scratch_free(sc_scratch *scratch)
{
    if (scratch == NULL)
        return;
    free(scratch->memory);
    free(scratch);
}

static void encode(sc_sweep *sweep, probe *p, size_t q)
{
    const sc_matrix *m = sweep->matrix;
    int8_t          *codes = sweep->scratch->codes + q * m->code_stride;
    float            error, length;
    int32_t          sum = 0;
    sc_quantise(p->vector, m->stride, codes, m->code_stride, &p->scale, &error, &length);
    p->doubt = error * m->length_max + p->length * (2 * sc_kernels_slack(m->stride) + 1e-6f);
    for (size_t i = 0; i < m->stride; i++)
        sum += codes[i];
    sweep->scratch->code_sums[q] = sum;
}

/* Adds a query to the batch in all its forms. One that cannot be near anything (NaN, no direction)
 * or wants nothing is left out. */
static void prepare(sc_sweep *sweep, sc_warm_query *query)
{
    const sc_matrix *m = sweep->matrix;
    float            length = sc_length(query->vector, m->dim);
    query->hits_used = 0;
    query->refused = (sc_candidate){NULL, -INFINITY};
    if (query->k == 0 || !(length > 1e-3f && length < 1e3f))
        return;
    size_t q = sweep->batch.count++;
    probe *p = &sweep->probes[q];
    float *vector = sweep->scratch->vectors + q * m->stride;
    memcpy(vector, query->vector, m->dim * sizeof *vector);
    memset(vector + m->dim, 0, (m->stride - m->dim) * sizeof *vector);
    *p = (probe){.query = query,
                 .vector = vector,
                 .length = length * 1.0001f,
                 .floor = query->far > 0 ? 1 - query->far : -INFINITY,
                 .limit = -INFINITY};
    if (sweep->coded)
        encode(sweep, p, q);
}

/* The k-th best so far, or what a useful row has to reach; while there is none, the best. */
static float limit_of(const probe *p)
{
    const sc_warm_query *query = p->query;
    float best = query->hits[0].distance;
    float last = query->hits_used == query->k ? query->hits[query->k - 1].distance : -INFINITY;
    return best < p->floor ? best : fmaxf(last, p->floor);
}

/* Keeps hits sorted, nearest first. Of equals, the one found first stays before the other. */
static void insert(probe *p, sc_entry *entry, float dot)
{
    sc_warm_query *query = p->query;
    size_t         at = query->hits_used < query->k ? query->hits_used++ : query->k - 1;
    for (; at > 0 && query->hits[at - 1].distance < dot; at--)
        query->hits[at] = query->hits[at - 1];
    query->hits[at] = (sc_candidate){entry, dot};
    p->limit = limit_of(p);
}

/* Only the nearest refused entry is told, and only when it is nearer than every hit. */
static float refused_limit(const probe *p)
{
    float refused = p->query->refused.distance;
    float best = p->query->hits_used > 0 ? p->query->hits[0].distance : -INFINITY;
    return refused > best ? refused : best;
}

static void admit(probe *p, const sc_chunk *chunk, size_t i, float dot)
{
    if (chunk->guards[i] == p->query->guard) {
        if (dot > p->limit)
            insert(p, chunk->rows[i]->entry, dot);
    } else if (dot > refused_limit(p)) {
        p->query->refused = (sc_candidate){chunk->rows[i]->entry, dot};
    }
}

static bool expired(const sc_sweep *sweep, const sc_chunk *chunk, size_t i)
{
    return chunk->expires_ms[i] <= sweep->now.ms;
}

/* dots are those of query q with count rows of chunk from first on. */
static void select_f32(sc_sweep *sweep, size_t q, const sc_chunk *chunk, size_t first, size_t count,
                       const float *dots)
{
    probe   *p = &sweep->probes[q];
    uint64_t above = sweep->kernels->above_f32(dots, count, p->limit);
    for (; above != 0; above &= above - 1) {
        size_t r = (size_t)__builtin_ctzll(above);
        if (!expired(sweep, chunk, first + r))
            admit(p, chunk, first + r, dots[r]);
    }
}

static void rank_again(sc_sweep *sweep, probe *p, const sc_chunk *chunk, size_t i, int32_t dot)
{
    float most = p->scale * chunk->scales[i] * (float)dot + p->length * chunk->errors[i] + p->doubt;
    float limit = chunk->guards[i] == p->query->guard ? p->limit : refused_limit(p);
    if (most < limit || expired(sweep, chunk, i))
        return;
    size_t       stride = sweep->matrix->stride;
    const float *row = chunk->vectors + i * stride;
    admit(p, chunk, i, sweep->kernels->dot_f32(p->vector, row, stride));
}

static void select_i8(sc_sweep *sweep, size_t q, const sc_chunk *chunk, size_t first, size_t count,
                      const int32_t *dots)
{
    probe   *p = &sweep->probes[q];
    uint64_t above =
        sweep->kernels->above_i8(dots, chunk->scales + first, chunk->errors + first, count,
                                  p->scale, p->length, p->limit - p->doubt);
    for (; above != 0; above &= above - 1) {
        size_t r = (size_t)__builtin_ctzll(above);
        rank_again(sweep, p, chunk, first + r, dots[r]);
    }
}

static size_t at_most(size_t n, size_t max)
{
    return n < max ? n : max;
}

/* Tiles of several rows jump between rows, and the processor's own prefetching does not follow: a
 * batch first runs over the block in order. Loads, because prefetch instructions were measured to
 * gain nothing; these take 20 to 30 % off a batch of 8 over 100 000 rows. */
static void fetch(const sc_sweep *sweep, const void *rows, size_t bytes)
{
    const char *line = rows;
    if (sweep->batch.count > 1)
        for (size_t i = 0; i < bytes; i += LINE)
            (void)*(const volatile uint64_t *)(const void *)(line + i);
}

static void pass_f32(sc_sweep *sweep, const sc_chunk *chunk, size_t rows)
{
    float *dots = sweep->scratch->dots_f32;
    for (size_t first = 0; first < rows; first += SC_BLOCK_ROWS) {
        size_t count = at_most(rows - first, SC_BLOCK_ROWS);
        const float *block = chunk->vectors + first * sweep->batch.stride;
        fetch(sweep, block, count * sweep->batch.stride * sizeof *block);
        sweep->kernels->dots_f32(&sweep->batch, block, count, dots);
        for (size_t q = 0; q < sweep->batch.count; q++)
            select_f32(sweep, q, chunk, first, count, dots + q * SC_BLOCK_ROWS);
    }
}

static void pass_i8(sc_sweep *sweep, const sc_chunk *chunk, size_t rows)
{
    int32_t *dots = sweep->scratch->dots_i8;
    for (size_t first = 0; first < rows; first += SC_BLOCK_ROWS) {
        size_t count = at_most(rows - first, SC_BLOCK_ROWS);
        const int8_t *block = chunk->codes + first * sweep->batch.code_stride;
        fetch(sweep, block, count * sweep->batch.code_stride);
        sweep->kernels->dots_i8(&sweep->batch, block, count, dots);
        for (size_t q = 0; q < sweep->batch.count; q++)
            select_i8(sweep, q, chunk, first, count, dots + q * SC_BLOCK_ROWS);
    }
}

/* [queries, rows] = queries . rows^T; sgemv for a single query, which sgemm would pack first. */
static void blas_dots(const sc_batch *batch, const float *rows, size_t count, float *dots)
{
    int n = (int)count, d = (int)batch->stride, q = (int)batch->count;
    if (q == 1)
        cblas_sgemv(CblasRowMajor, CblasNoTrans, n, d, 1, rows, d, batch->vectors, 1, 0, dots, 1);
    else
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, q, n, d, 1, batch->vectors, d, rows, d,
                    0, dots, BLAS_ROWS);
}

static void pass_blas(sc_sweep *sweep, const sc_chunk *chunk, size_t rows)
{
    float *dots = sweep->scratch->dots_f32;
    for (size_t first = 0; first < rows; first += BLAS_ROWS) {
        size_t count = at_most(rows - first, BLAS_ROWS);
        blas_dots(&sweep->batch, chunk->vectors + first * sweep->batch.stride, count, dots);
        for (size_t r = 0; r < count; r += SC_BLOCK_ROWS)
            for (size_t q = 0; q < sweep->batch.count; q++)
                select_f32(sweep, q, chunk, first + r, at_most(count - r, SC_BLOCK_ROWS),
                           dots + q * BLAS_ROWS + r);
    }
}

/* Without kernels for this processor OpenBLAS, which has its own, is the faster one for a batch;
 * for a single query even plain int8 is (40 against 139 ns per row at 100 000 x 384). */
static sc_warm_pass choose(const sc_kernels *kernels, size_t count)
{
    return kernels == &sc_kernels_plain && count > 1 ? SC_WARM_PASS_BLAS : SC_WARM_PASS_INT8;
}

static void pass_over(sc_sweep *sweep)
{
    const sc_matrix *m = sweep->matrix;
    for (size_t c = 0, first = 0; first < m->rows_used; first += m->chunks[c++].room) {
        const sc_chunk *chunk = &m->chunks[c];
        size_t          rows = at_most(m->rows_used - first, chunk->room);
        if (sweep->pass == SC_WARM_PASS_BLAS)
            pass_blas(sweep, chunk, rows);
        else if (sweep->pass == SC_WARM_PASS_FLOAT || chunk->codes == NULL)
            pass_f32(sweep, chunk, rows);
        else
            pass_i8(sweep, chunk, rows);
    }
}

static sc_candidate candidate(sc_entry *entry, float dot)
{
    return (sc_candidate){sc_entry_ref(entry), fminf(fmaxf(1 - dot, 0), 2)};
}

/* Rows met before the limit rose: whether they were depends on the order of rows. */
static void drop_far(sc_warm_query *query)
{
    while (query->far > 0 && query->hits_used > 1 &&
           query->hits[query->hits_used - 1].distance <= 1 - query->far)
        query->hits_used--;
}

/* Turns dot products into distances and takes the references. */
static void finish(sc_warm_query *query)
{
    drop_far(query);
    sc_candidate refused = query->refused;
    bool         told = refused.entry != NULL &&
                (query->hits_used == 0 || refused.distance > query->hits[0].distance);
    query->refused =
        told ? candidate(refused.entry, refused.distance) : (sc_candidate){NULL, 0};
    for (size_t i = 0; i < query->hits_used; i++)
        query->hits[i] = candidate(query->hits[i].entry, query->hits[i].distance);
}

static bool has_codes(const sc_matrix *matrix)
{
    return matrix->chunks_used > 0 && matrix->chunks[matrix->chunks_used - 1].codes != NULL;
}

static void sweep_batch(sc_sweep *sweep, sc_warm_query *queries, size_t count)
{
    sweep->batch = (sc_batch){.stride = sweep->matrix->stride,
                              .code_stride = sweep->matrix->code_stride,
                              .vectors = sweep->scratch->vectors,
                              .codes = sweep->scratch->codes,
                              .code_sums = sweep->scratch->code_sums};
    for (size_t i = 0; i < count; i++)
        prepare(sweep, &queries[i]);
    if (sweep->batch.count > 0)
        pass_over(sweep);
    for (size_t i = 0; i < count; i++)
        finish(&queries[i]);
}

void sc_prefilter(const sc_matrix *matrix, const sc_kernels *kernels, sc_warm_pass pass,
                  sc_scratch *scratch, sc_wall now, sc_warm_query *queries, size_t count)
{
    sc_sweep sweep = {.matrix = matrix, .kernels = kernels, .scratch = scratch, .now = now};
    sweep.pass = pass == SC_WARM_PASS_AUTO ? choose(kernels, count) : pass;
    sweep.coded = sweep.pass == SC_WARM_PASS_INT8 && has_codes(matrix);
    for (size_t done = 0; done < count; done += SC_BATCH_MAX)
        sweep_batch(&sweep, queries + done, at_most(count - done, SC_BATCH_MAX));
}
