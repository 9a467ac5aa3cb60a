#include "src/warm/matrix.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/warm/kernels/kernels.h"

enum {
    LINE = 64,
    CHUNK_BYTES = 4 << 20, /* of vectors, at most; a chunk is a few huge pages then */
    CODES_ROWS_MIN = 256,  /* smaller chunks are read as float32: see prefilter.c */
    HUGE_PAGE = 2 << 20,
    CODE_MAX = 127,
};

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

void sc_matrix_init(sc_matrix *matrix, uint32_t dim)
{
    assert(dim > 0 && dim <= SC_MATRIX_DIM_MAX);
    *matrix = (sc_matrix){
        .dim = dim,
        .stride = round_up(dim, SC_FLOATS_STEP),
        .code_stride = round_up(dim, SC_CODES_STEP),
        .chunk_rows_max = SC_BLOCK_ROWS,
    };
    while (2 * matrix->chunk_rows_max * matrix->stride * sizeof(float) <= CHUNK_BYTES)
        matrix->chunk_rows_max *= 2;
}

void sc_matrix_fini(sc_matrix *matrix)
{
    for (size_t c = 0; c < matrix->chunks_used; c++)
        free(matrix->chunks[c].memory);
    free(matrix->chunks);
    matrix->chunks = NULL;
    matrix->chunks_used = matrix->chunks_room = matrix->rows_used = matrix->rows_room = 0;
    matrix->bytes = 0;
}

/* Chunks hold 1, 1, 2, 4, ... rows_max, rows_max, ... rows. */
static size_t chunk_room(const sc_matrix *matrix, size_t c)
{
    if (c == 0)
        return 1;
    return c - 1 < 31 && ((size_t)1 << (c - 1)) < matrix->chunk_rows_max ? (size_t)1 << (c - 1)
                                                                       : matrix->chunk_rows_max;
}

static unsigned log2_of(size_t n)
{
    return 63u - (unsigned)__builtin_clzll(n);
}

static sc_chunk *chunk_of(const sc_matrix *matrix, size_t at, size_t *offset)
{
    size_t max = matrix->chunk_rows_max;
    if (at < max) {
        size_t c = at == 0 ? 0 : log2_of(at) + 1;
        *offset = at == 0 ? 0 : at - ((size_t)1 << (c - 1));
        return &matrix->chunks[c];
    }
    *offset = at & (max - 1);
    return &matrix->chunks[log2_of(max) + at / max];
}

/* The parts of a chunk's one allocation, in this order; returns its size. */
static size_t lay_out(const sc_matrix *matrix, size_t room, sc_chunk *chunk, char *base)
{
    bool   coded = room >= CODES_ROWS_MIN;
    size_t at = 0;
    *chunk = (sc_chunk){.room = room};
#define PART(field, bytes)                                                                         \
    chunk->field = base == NULL ? NULL : (void *)(base + at);                                      \
    at += round_up((bytes), LINE)
    PART(vectors, room * matrix->stride * sizeof(float));
    if (coded) {
        PART(codes, room * matrix->code_stride);
        PART(scales, room * sizeof(float));
        PART(errors, room * sizeof(float));
    }
    PART(guards, room * sizeof(uint64_t));
    PART(expires_ms, room * sizeof(int64_t));
    PART(rows, room * sizeof(sc_row *));
#undef PART
    chunk->bytes = at + LINE;
    return chunk->bytes;
}

static size_t chunk_bytes(const sc_matrix *matrix, size_t c)
{
    sc_chunk chunk;
    return lay_out(matrix, chunk_room(matrix, c), &chunk, NULL);
}

size_t sc_matrix_growth(const sc_matrix *matrix)
{
    return matrix->rows_used < matrix->rows_room ? 0 : chunk_bytes(matrix, matrix->chunks_used);
}

/* Streaming over 4 KiB pages stalls at each border; the kernel gives huge ones when asked. */
static void ask_for_huge_pages(char *memory, size_t bytes)
{
    uintptr_t from = round_up((uintptr_t)memory, HUGE_PAGE);
    uintptr_t to = ((uintptr_t)memory + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (from < to)
        (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
}

static sc_status grow(sc_matrix *matrix)
{
    if (matrix->chunks_used == matrix->chunks_room) {
        size_t    room = matrix->chunks_room == 0 ? 4 : 2 * matrix->chunks_room;
        sc_chunk *chunks = realloc(matrix->chunks, room * sizeof *chunks);
        if (chunks == NULL)
            return SC_NO_MEMORY;
        matrix->chunks = chunks;
        matrix->chunks_room = room;
    }
    size_t room = chunk_room(matrix, matrix->chunks_used);
    size_t bytes = chunk_bytes(matrix, matrix->chunks_used);
    /* Zeroed, because a block of 64 rows is looked at whole before what is unused is masked out. */
    char *memory = calloc(1, bytes);
    if (memory == NULL)
        return SC_NO_MEMORY;
    ask_for_huge_pages(memory, bytes);
    sc_chunk *chunk = &matrix->chunks[matrix->chunks_used++];
    lay_out(matrix, room, chunk, (char *)round_up((uintptr_t)memory, LINE));
    chunk->memory = memory;
    matrix->rows_room += room;
    matrix->bytes += chunk->bytes;
    return SC_OK;
}

/* Loops over LANES floats without a dependency between them, so that they become vector code
 * in every build. stride is a multiple of LANES, dim is not. */
enum { LANES = SC_FLOATS_STEP };

static float sum_of(const float lanes[LANES])
{
    float sum = 0;
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

float sc_length(const float *vector, size_t dim)
{
    float  lanes[LANES] = {0};
    size_t i = 0;
    for (; i + LANES <= dim; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += vector[i + j] * vector[i + j];
    for (; i < dim; i++)
        lanes[0] += vector[i] * vector[i];
    return sqrtf(sum_of(lanes));
}

static float largest_of(const float *vector, size_t stride)
{
    float lanes[LANES] = {0}, largest = 0;
    for (size_t i = 0; i < stride; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float size = fabsf(vector[i + j]);
            lanes[j] = size > lanes[j] ? size : lanes[j];
        }
    for (size_t j = 0; j < LANES; j++)
        largest = lanes[j] > largest ? lanes[j] : largest;
    return largest;
}

void sc_quantise(const float *vector, size_t stride, int8_t *codes, size_t code_stride,
                 float *scale, float *error, float *length)
{
    /* Adding this pushes the fraction out of a float's 24 bits, to the nearest integer. */
    const float rounder = 0x1.8p23f;
    float       largest = largest_of(vector, stride), lost[LANES] = {0}, kept[LANES] = {0};
    float       step = largest / CODE_MAX, inverse = largest > 1e-30f ? CODE_MAX / largest : 0;
    for (size_t i = 0; i < stride; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            float code = vector[i + j] * inverse + rounder - rounder;
            float back = step * code, difference = vector[i + j] - back;
            codes[i + j] = (int8_t)code;
            lost[j] += difference * difference;
            kept[j] += back * back;
        }
    memset(codes + stride, 0, code_stride - stride);
    /* Upwards of what the sums above can have lost by rounding. */
    float margin = 1.0f + (float)(stride + 64) * 0x1p-23f;
    *scale = step;
    *error = sqrtf(sum_of(lost)) * margin + 1e-7f;
    *length = sqrtf(sum_of(kept)) * margin + 1e-7f;
}

static void fill(sc_matrix *matrix, sc_chunk *chunk, size_t i, sc_row *row, const float *vector,
                 float factor)
{
    float *to = chunk->vectors + i * matrix->stride;
    for (size_t j = 0; j < matrix->dim; j++)
        to[j] = factor * vector[j];
    memset(to + matrix->dim, 0, (matrix->stride - matrix->dim) * sizeof *to);
    if (chunk->codes != NULL) {
        float length;
        sc_quantise(to, matrix->stride, chunk->codes + i * matrix->code_stride,
                    matrix->code_stride, &chunk->scales[i], &chunk->errors[i], &length);
        matrix->length_max = fmaxf(matrix->length_max, length);
    }
    chunk->guards[i] = row->entry->f.guard;
    chunk->expires_ms[i] = row->entry->f.expires.ms;
    chunk->rows[i] = row;
}

sc_status sc_matrix_add(sc_matrix *matrix, sc_row *row, const float *vector, float factor)
{
    if (matrix->rows_used == matrix->rows_room) {
        sc_status status = grow(matrix);
        if (status != SC_OK)
            return status;
    }
    size_t    i;
    sc_chunk *chunk = chunk_of(matrix, matrix->rows_used, &i);
    row->at = matrix->rows_used++;
    fill(matrix, chunk, i, row, vector, factor);
    return SC_OK;
}

/* Later chunks are never smaller: a row that moves back may lose its codes, never lack them. */
static void move(sc_matrix *matrix, sc_chunk *to, size_t i, const sc_chunk *from, size_t j)
{
    memcpy(to->vectors + i * matrix->stride, from->vectors + j * matrix->stride,
           matrix->stride * sizeof(float));
    if (to->codes != NULL) {
        memcpy(to->codes + i * matrix->code_stride, from->codes + j * matrix->code_stride,
               matrix->code_stride);
        to->scales[i] = from->scales[j];
        to->errors[i] = from->errors[j];
    }
    to->guards[i] = from->guards[j];
    to->expires_ms[i] = from->expires_ms[j];
    to->rows[i] = from->rows[j];
}

/* Drops the last chunk once it is empty; with keep_spare only when half of the one before it is
 * free as well, so that a scope whose size swings around a border does not allocate each time. */
static void drop_empty_chunks(sc_matrix *matrix, bool keep_spare)
{
    while (matrix->chunks_used > 0) {
        size_t    c = matrix->chunks_used - 1;
        sc_chunk *last = &matrix->chunks[c];
        size_t    spare = keep_spare && c > 0 ? matrix->chunks[c - 1].room / 2 : 0;
        if (matrix->rows_used + spare > matrix->rows_room - last->room)
            return;
        matrix->chunks_used--;
        matrix->rows_room -= last->room;
        matrix->bytes -= last->bytes;
        free(last->memory);
    }
    free(matrix->chunks);
    matrix->chunks = NULL;
    matrix->chunks_room = 0;
    matrix->length_max = 0;
}

void sc_matrix_trim(sc_matrix *matrix)
{
    drop_empty_chunks(matrix, false);
}

void sc_matrix_remove(sc_matrix *matrix, sc_row *row)
{
    size_t    i, j;
    sc_chunk *to = chunk_of(matrix, row->at, &i);
    sc_chunk *from = chunk_of(matrix, matrix->rows_used - 1, &j);
    assert(to->rows[i] == row);
    if (row->at != matrix->rows_used - 1) {
        move(matrix, to, i, from, j);
        to->rows[i]->at = row->at;
    }
    from->rows[j] = NULL;
    matrix->rows_used--;
    drop_empty_chunks(matrix, true);
}
