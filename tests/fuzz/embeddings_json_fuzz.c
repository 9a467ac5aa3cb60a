/* Whatever an upstream sends: what is taken has unit length, and the bytes are not overrun. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "src/embed/embeddings_json.h"

enum { COUNT = 2, DIM = 2 };

static void assert_unit(const float *vector)
{
    double sum = 0;
    for (int i = 0; i < DIM; i++)
        sum += (double)vector[i] * (double)vector[i];
    if (!(fabs(sum - 1) < 1e-5))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    float    vectors[COUNT * DIM] = {0};
    uint32_t tokens = 0, dim = 0;
    sc_error error = {0};
    sc_str   json = {(const char *)data, size};
    if (sc_embeddings_read(json, COUNT, DIM, vectors, &tokens, &error) == SC_OK)
        for (int i = 0; i < COUNT; i++)
            assert_unit(vectors + i * DIM);
    else if (error.status == SC_OK || error.text[0] == '\0')
        abort();
    if (sc_embeddings_dim(json, &dim, NULL) == SC_OK && (dim == 0 || dim > 65536))
        abort();
    return 0;
}
