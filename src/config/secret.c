/* Whole pages of its own: MADV_DONTDUMP works on nothing smaller, and there are few secrets. */
#include "src/config/secret.h"

#include <stddef.h>
#include <sys/mman.h>

typedef struct {
    size_t bytes; /* of the mapping */
    char   text[];
} secret;

char *sc_secret_copy(sc_str text)
{
    size_t  bytes = sizeof(secret) + text.len + 1;
    secret *s = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s == MAP_FAILED)
        return NULL;
    madvise(s, bytes, MADV_DONTDUMP);
    s->bytes = bytes;
    if (text.len != 0)
        memcpy(s->text, text.ptr, text.len);
    return s->text;
}

void sc_secret_free(char *text)
{
    if (text == NULL)
        return;
    secret *s = (secret *)(void *)(text - offsetof(secret, text));
    size_t  bytes = s->bytes;
    explicit_bzero(s, bytes);
    munmap(s, bytes);
}
