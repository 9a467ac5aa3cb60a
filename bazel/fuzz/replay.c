/* The main program of a fuzz target in an ordinary build: runs each file named on the command line
 * through the target once, so that what a fuzzer found before stays fixed. Prints one line per
 * file, in cmocka's form, for the count that bazel/test makes. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives the whole file, which the caller frees, or NULL. */
static uint8_t *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = NULL;
    long end = -1;

    if (file != NULL && fseek(file, 0, SEEK_END) == 0)
        end = ftell(file);
    if (end >= 0 && fseek(file, 0, SEEK_SET) == 0)
        bytes = malloc(end > 0 ? (size_t)end : 1); /* Exact, so that ASan sees one byte too far. */
    if (bytes != NULL && fread(bytes, 1, (size_t)end, file) != (size_t)end) {
        free(bytes);
        bytes = NULL;
    }
    if (file != NULL)
        fclose(file);
    *size = bytes != NULL ? (size_t)end : 0;
    return bytes;
}

static int replay(const char *path)
{
    size_t size;
    uint8_t *bytes = read_file(path, &size);

    if (bytes == NULL) {
        printf("[  FAILED  ] %s: cannot be read\n", path);
        return 1;
    }
    printf("[ RUN      ] %s\n", path);
    fflush(stdout); /* A crash must leave the name behind. */
    int status = LLVMFuzzerTestOneInput(bytes, size);
    free(bytes);
    printf("[%s] %s\n", status == 0 ? "       OK " : "  FAILED  ", path);
    return status != 0;
}

int main(int argc, char **argv)
{
    int failed = 0;

    for (int i = 1; i < argc; i++)
        failed += replay(argv[i]);
    if (argc < 2)
        printf("[  FAILED  ] no corpus: a target without one is not tested\n");
    return failed != 0 || argc < 2;
}
