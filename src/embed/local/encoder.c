/* The arithmetic per token: 2 x 1,769,472 x 6 = 21.2 MFLOP in the four products of each layer, which
 * is all that counts for a question of a dozen tokens (attention is 3 % of the time there, and a
 * tenth at 256 tokens). So the products belong to the kernels, and what stands here is plain C. */
#include "src/embed/local/encoder.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    DIM = SC_MODEL_DIM,
    HEAD_DIM = SC_MODEL_HEAD_DIM,
    TOKENS = SC_ENCODER_TOKENS_MAX,
    PANEL_COLUMNS_MAX = 32,
    SCORES_STRIDE = TOKENS + PANEL_COLUMNS_MAX, /* columns are padded to whole panels */
};

struct sc_encoder_space {
    _Alignas(64) float x[TOKENS * DIM]; /* [tokens, DIM], what a layer reads and leaves */
    float attend[TOKENS * 3 * DIM];     /* [tokens, 3 * DIM], query, key and value of each head */
    float mixed[TOKENS * DIM];          /* [tokens, DIM] */
    float hidden[TOKENS * SC_MODEL_HIDDEN]; /* [tokens, SC_MODEL_HIDDEN] */
    float scores[TOKENS * SCORES_STRIDE];   /* of one head and text */
    float keys[HEAD_DIM * SCORES_STRIDE];   /* of one head and text, in panels */
};

sc_status sc_encoder_space_open(sc_encoder_space **out)
{
    *out = aligned_alloc(64, sizeof **out);
    if (*out == NULL)
        return SC_NO_MEMORY;
    memset(*out, 0, sizeof **out); /* Touched now, not by the first question. */
    return SC_OK;
}

void sc_encoder_space_close(sc_encoder_space *space)
{
    free(space);
}

static void embed_token(const sc_weights *weights, uint16_t id, size_t position, float *row)
{
    const float *word = weights->words + (size_t)id * DIM;
    const float *place = weights->positions + position * DIM;
    assert(id < SC_MODEL_WORDS && position < SC_MODEL_POSITIONS);
    for (size_t i = 0; i < DIM; i++)
        row[i] = word[i] + place[i];
}

static void embed(const sc_weights *weights, const sc_tokens *text, float *rows)
{
    for (size_t i = 0; i < text->count; i++)
        embed_token(weights, text->ids[i], i, rows + i * DIM);
}

static void apply(const sc_weights *weights, const sc_linear *linear, const float *a, float *c,
                  size_t rows, sc_product_mode mode)
{
    sc_product product = {
        .a = a,
        .a_stride = linear->depth,
        .rows = rows,
        .depth = linear->depth,
        .columns = linear->columns,
        .panels = linear->panels,
        .halves = weights->halves,
        .bias = linear->bias,
        .c = c,
        .c_stride = linear->columns,
        .mode = mode,
    };
    weights->kernel->multiply(&product);
}

/* One head of one text: softmax(query key^T) value. attend is the first token's row, at the head's
 * query; mixed is where the head's part of the first row goes. */
static void mix_head(const sc_kernel *kernel, sc_encoder_space *space, const float *attend,
                     float *mixed, size_t count)
{
    const size_t stride = (size_t)3 * DIM;
    kernel->turn(attend + DIM, stride, HEAD_DIM, count, space->keys);
    sc_product scores = {
        .a = attend,
        .a_stride = stride,
        .rows = count,
        .depth = HEAD_DIM,
        .columns = count,
        .panels = space->keys,
        .c = space->scores,
        .c_stride = SCORES_STRIDE,
    };
    kernel->multiply(&scores);
    kernel->softmax(space->scores, SCORES_STRIDE, count, count);
    sc_product mix = {
        .a = space->scores,
        .a_stride = SCORES_STRIDE,
        .rows = count,
        .depth = count,
        .columns = HEAD_DIM,
        .panels = attend + (size_t)2 * DIM,
        .plain_stride = stride,
        .c = mixed,
        .c_stride = DIM,
    };
    kernel->multiply(&mix);
}

static void mix(const sc_kernel *kernel, sc_encoder_space *space, const sc_tokens *const *texts,
                size_t count)
{
    size_t row = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t head = 0; head < SC_MODEL_HEADS; head++)
            mix_head(kernel, space, space->attend + row * 3 * DIM + head * HEAD_DIM,
                     space->mixed + row * DIM + head * HEAD_DIM, texts[i]->count);
        row += texts[i]->count;
    }
}

static void run_layer(const sc_weights *weights, const sc_layer *layer, sc_encoder_space *space,
                      const sc_tokens *const *texts, size_t count, size_t rows)
{
    const sc_kernel *kernel = weights->kernel;
    apply(weights, &layer->attend, space->x, space->attend, rows, SC_PRODUCT_SET);
    mix(kernel, space, texts, count);
    apply(weights, &layer->join, space->mixed, space->x, rows, SC_PRODUCT_ADD);
    kernel->layer_norm(space->x, rows, DIM, layer->join_norm.gain, layer->join_norm.shift);
    apply(weights, &layer->up, space->x, space->hidden, rows, SC_PRODUCT_GELU);
    apply(weights, &layer->down, space->hidden, space->x, rows, SC_PRODUCT_ADD);
    kernel->layer_norm(space->x, rows, DIM, layer->down_norm.gain, layer->down_norm.shift);
}

/* The mean of the rows, made of length 1. Its direction is the sum's, so nothing is divided twice. */
static void pool(const float *rows, size_t count, float *vector)
{
    double length = 0;
    memset(vector, 0, DIM * sizeof *vector);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < DIM; j++)
            vector[j] += rows[i * DIM + j];
    for (size_t j = 0; j < DIM; j++)
        length += (double)vector[j] * (double)vector[j];
    float scale = (float)(1.0 / sqrt(length));
    for (size_t j = 0; j < DIM; j++)
        vector[j] *= scale;
}

void sc_encoder_run(const sc_weights *weights, sc_encoder_space *space,
                    const sc_tokens *const *texts, float *const *vectors, size_t count)
{
    size_t rows = 0;
    for (size_t i = 0; i < count; i++) {
        assert(rows + texts[i]->count <= TOKENS);
        embed(weights, texts[i], space->x + rows * DIM);
        rows += texts[i]->count;
    }
    weights->kernel->layer_norm(space->x, rows, DIM, weights->embedding_norm.gain,
                                weights->embedding_norm.shift);
    for (int i = 0; i < SC_MODEL_LAYERS; i++)
        run_layer(weights, &weights->layers[i], space, texts, count, rows);
    for (size_t i = 0, row = 0; i < count; row += texts[i++]->count)
        pool(space->x + row * DIM, texts[i]->count, vectors[i]);
}
