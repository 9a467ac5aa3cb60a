#include "src/embed/local/weights.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "src/embed/local/file.h"
#include "src/embed/local/half.h"
#include "src/embed/local/safetensors.h"

static const char file_name[] = "model.safetensors";
static const char file_sha256[] =
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db";

enum {
    ALIGNMENT = 64,
    /* A product reads its panels front to back. Huge pages spare the address translations of
     * 10,000 pages per text and let the processor's prefetching run on past 4 KiB. */
    HUGE_PAGE = 2 << 20,
    NAME_BYTES_MAX = 96,
};

/* ---- One block for everything that is packed or copied ---- */

typedef struct {
    sc_weights           *weights;
    const sc_safetensors *file;
    bool                  float16;
    size_t                used;   /* bytes of the block */
    float                *matrix; /* [columns, depth], the one being made, as the file has it */
    float                *packed; /* the same in panels, before it is narrowed */
    float                *bias;   /* [columns] */
    sc_status             status; /* sticks */
    sc_error             *error;
} packer;

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t panel_bytes(const sc_weights *weights, size_t depth, size_t columns)
{
    size_t size = weights->halves ? sizeof(uint16_t) : sizeof(float);
    return padded(sc_kernel_packed_count(weights->kernel, depth, columns) * size);
}

static size_t layer_bytes(const sc_weights *weights)
{
    size_t vectors = (3 + 1 + 1 + 4) * SC_MODEL_DIM + SC_MODEL_HIDDEN;
    return panel_bytes(weights, SC_MODEL_DIM, (size_t)3 * SC_MODEL_DIM) +
           panel_bytes(weights, SC_MODEL_DIM, SC_MODEL_DIM) +
           panel_bytes(weights, SC_MODEL_DIM, SC_MODEL_HIDDEN) +
           panel_bytes(weights, SC_MODEL_HIDDEN, SC_MODEL_DIM) + vectors * sizeof(float);
}

static size_t block_bytes(const sc_weights *weights)
{
    size_t rows = SC_MODEL_POSITIONS + 2;
    size_t bytes =
        rows * SC_MODEL_DIM * sizeof(float) + SC_MODEL_LAYERS * layer_bytes(weights);
    return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

static void *take(packer *p, size_t bytes)
{
    char *at = (char *)p->weights->_block + p->used;
    p->used += padded(bytes);
    assert(p->used <= p->weights->_block_bytes);
    return at;
}

/* The tensor, or NULL and the failure kept. */
static const float *tensor(packer *p, const char *name, size_t rows, size_t columns)
{
    const float *values = NULL;
    if (p->status == SC_OK)
        p->status = sc_safetensors_find(p->file, name, rows, columns, &values, p->error);
    return p->status == SC_OK ? values : NULL;
}

static const float *layer_tensor(packer *p, int layer, const char *part, const char *what,
                                 size_t rows, size_t columns)
{
    char name[NAME_BYTES_MAX];
    snprintf(name, sizeof name, "encoder.layer.%d.%s.%s", layer, part, what);
    return tensor(p, name, rows, columns);
}

static const float *copy(packer *p, const float *values, size_t count)
{
    float *to = take(p, count * sizeof(float));
    if (values != NULL)
        memcpy(to, values, count * sizeof(float));
    return to;
}

/* ---- Matrices ---- */

/* Rows of a matrix as the file has it, [out, in], or entries of its bias; NULL after a failure. */
static void stage(float *to, const float *values, size_t count, float scale)
{
    for (size_t i = 0; values != NULL && i < count; i++)
        to[i] = values[i] * scale;
}

static void round_to_halves(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = sc_half_float(sc_half_of(values[i]));
}

/* Packs what is staged. A product wants [in, out], so element (k, j) is matrix[j * depth + k]. */
static sc_linear seal(packer *p, size_t depth, size_t columns)
{
    const sc_weights *weights = p->weights;
    void             *panels = take(p, panel_bytes(weights, depth, columns));
    float            *floats = weights->halves ? p->packed : panels;
    size_t            count = sc_kernel_packed_count(weights->kernel, depth, columns);
    if (p->float16)
        round_to_halves(p->matrix, depth * columns);
    sc_kernel_pack(weights->kernel, p->matrix, 1, depth, depth, columns, floats);
    for (size_t i = 0; weights->halves && i < count; i++)
        ((uint16_t *)panels)[i] = sc_half_of(floats[i]);
    return (sc_linear){panels, copy(p, p->bias, columns), depth, columns};
}

static void stage_linear(packer *p, int layer, const char *part, size_t depth, size_t columns,
                         size_t column, float scale)
{
    stage(p->matrix + column * depth, layer_tensor(p, layer, part, "weight", columns, depth),
          columns * depth, scale);
    stage(p->bias + column, layer_tensor(p, layer, part, "bias", 0, columns), columns, scale);
}

static sc_linear make_linear(packer *p, int layer, const char *part, size_t depth, size_t columns)
{
    stage_linear(p, layer, part, depth, columns, 0, 1.0f);
    return seal(p, depth, columns);
}

/* Scores come out of the product ready for softmax, which is in powers of two. */
static sc_linear make_attend(packer *p, int layer)
{
    const size_t dim = SC_MODEL_DIM;
    const float  scale = 1.44269504f / sqrtf((float)SC_MODEL_HEAD_DIM);
    stage_linear(p, layer, "attention.self.query", dim, dim, 0, scale);
    stage_linear(p, layer, "attention.self.key", dim, dim, dim, 1.0f);
    stage_linear(p, layer, "attention.self.value", dim, dim, 2 * dim, 1.0f);
    return seal(p, dim, 3 * dim);
}

static sc_norm make_norm(packer *p, const float *gain, const float *shift)
{
    sc_norm norm;
    norm.gain = copy(p, gain, SC_MODEL_DIM);
    norm.shift = copy(p, shift, SC_MODEL_DIM);
    return norm;
}

static sc_norm make_layer_norm(packer *p, int layer, const char *part)
{
    const float *gain = layer_tensor(p, layer, part, "weight", 0, SC_MODEL_DIM);
    return make_norm(p, gain, layer_tensor(p, layer, part, "bias", 0, SC_MODEL_DIM));
}

static void make_layer(packer *p, int at)
{
    sc_layer *layer = &p->weights->layers[at];
    layer->attend = make_attend(p, at);
    layer->join = make_linear(p, at, "attention.output.dense", SC_MODEL_DIM, SC_MODEL_DIM);
    layer->join_norm = make_layer_norm(p, at, "attention.output.LayerNorm");
    layer->up = make_linear(p, at, "intermediate.dense", SC_MODEL_DIM, SC_MODEL_HIDDEN);
    layer->down = make_linear(p, at, "output.dense", SC_MODEL_HIDDEN, SC_MODEL_DIM);
    layer->down_norm = make_layer_norm(p, at, "output.LayerNorm");
}

/* ---- Embeddings ---- */

static const float *make_positions(packer *p)
{
    const size_t rows = SC_MODEL_POSITIONS, dim = SC_MODEL_DIM;
    const float *positions = tensor(p, "embeddings.position_embeddings.weight", 512, dim);
    const float *types = tensor(p, "embeddings.token_type_embeddings.weight", 2, dim);
    float       *sums = take(p, rows * dim * sizeof(float));
    for (size_t i = 0; p->status == SC_OK && i < rows * dim; i++)
        sums[i] = positions[i] + types[i % dim];
    return sums;
}

static sc_status make(packer *p)
{
    sc_weights *weights = p->weights;
    weights->words =
        tensor(p, "embeddings.word_embeddings.weight", SC_MODEL_WORDS, SC_MODEL_DIM);
    weights->positions = make_positions(p);
    weights->embedding_norm =
        make_norm(p, tensor(p, "embeddings.LayerNorm.weight", 0, SC_MODEL_DIM),
                  tensor(p, "embeddings.LayerNorm.bias", 0, SC_MODEL_DIM));
    for (int i = 0; i < SC_MODEL_LAYERS; i++)
        make_layer(p, i);
    return p->status;
}

/* ---- Opening ---- */

static sc_status reserve_block(sc_weights *weights, sc_error *error)
{
    weights->_block_bytes = block_bytes(weights);
    void *block = aligned_alloc(HUGE_PAGE, weights->_block_bytes);
    if (block == NULL)
        return sc_fail(error, SC_NO_MEMORY, "weights: no %zu bytes", weights->_block_bytes);
    weights->_block = block;
    (void)madvise(block, weights->_block_bytes, MADV_HUGEPAGE); /* a wish */
    return SC_OK;
}

static sc_status pack_file(sc_weights *weights, const sc_safetensors *file, bool float16,
                           sc_error *error)
{
    const size_t largest = (size_t)SC_MODEL_DIM * SC_MODEL_HIDDEN;
    packer       p = {.weights = weights, .file = file, .float16 = float16, .error = error};
    p.matrix = calloc(largest, sizeof(float));
    p.packed = calloc(largest, sizeof(float));
    p.bias = calloc(SC_MODEL_HIDDEN, sizeof(float));
    if (p.matrix == NULL || p.packed == NULL || p.bias == NULL)
        p.status = sc_fail(error, SC_NO_MEMORY, "weights: out of memory");
    else
        p.status = make(&p);
    free(p.matrix);
    free(p.packed);
    free(p.bias);
    return p.status;
}

sc_status sc_weights_open(const char *folder, const sc_kernel *kernel, bool float16,
                          sc_weights **out, sc_error *error)
{
    sc_safetensors *file = NULL;
    sc_weights     *weights = calloc(1, sizeof *weights);
    *out = NULL;
    if (weights == NULL)
        return sc_fail(error, SC_NO_MEMORY, "weights: out of memory");
    weights->kernel = kernel;
    weights->halves = float16 && kernel->reads_halves;
    sc_status status = sc_file_map_pinned(folder, file_name, file_sha256, &weights->_map,
                                          &weights->_map_bytes, error);
    if (status != SC_OK)
        goto out;
    status = sc_safetensors_open(weights->_map, weights->_map_bytes, &file, error);
    if (status != SC_OK)
        goto out;
    status = reserve_block(weights, error);
    if (status != SC_OK)
        goto out;
    status = pack_file(weights, file, float16, error);
    if (status != SC_OK)
        goto out;
    /* The page cache keeps the file; this process needs the rows of words it meets. */
    (void)madvise(weights->_map, weights->_map_bytes, MADV_DONTNEED);
    (void)madvise(weights->_map, weights->_map_bytes, MADV_RANDOM);
    *out = weights;
    weights = NULL;
out:
    sc_safetensors_close(file);
    sc_weights_close(weights);
    return status;
}

void sc_weights_close(sc_weights *weights)
{
    if (weights == NULL)
        return;
    sc_file_unmap(weights->_map, weights->_map_bytes);
    free(weights->_block);
    free(weights);
}
