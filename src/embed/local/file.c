#include "src/embed/local/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/hash.h"

/* Of a path that is too long for an error text its end counts: that names the file. */
static const char *end_of(const char *path)
{
    enum { SHOWN_MAX = 150 };
    size_t len = strlen(path);
    return len <= SHOWN_MAX ? path : path + len - SHOWN_MAX;
}

static sc_status map(const char *path, void **out, size_t *len, sc_error *error)
{
    sc_status   status = SC_NOT_FOUND;
    struct stat about;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &about) != 0) {
        sc_fail(error, status, "%s: %s", end_of(path), strerror(errno));
        goto out;
    }
    if (!S_ISREG(about.st_mode) || about.st_size <= 0) {
        status = sc_fail(error, SC_MISMATCH, "%s: empty, or no ordinary file", end_of(path));
        goto out;
    }
    void *bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) {
        status = sc_fail(error, SC_NO_MEMORY, "%s: %s", end_of(path), strerror(errno));
        goto out;
    }
    *out = bytes;
    *len = (size_t)about.st_size;
    status = SC_OK;
out:
    if (fd >= 0)
        close(fd);
    return status;
}

sc_status sc_file_map_pinned(const char *folder, const char *name, const char *sha256_hex,
                             void **out, size_t *len, sc_error *error)
{
    char path[PATH_MAX];
    *out = NULL;
    *len = 0;
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return sc_fail(error, SC_NOT_FOUND, "%s: the path is too long", end_of(folder));
    sc_status status = map(path, out, len, error);
    if (status != SC_OK)
        return status;

    char      hex[SC_DIGEST_HEX_BYTES + 1];
    sc_digest digest = sc_sha256(*out, *len);
    sc_hex_encode(digest.bytes, sizeof digest.bytes, hex);
    if (strcmp(hex, sha256_hex) == 0)
        return SC_OK;
    sc_file_unmap(*out, *len);
    *out = NULL;
    *len = 0;
    return sc_fail(error, SC_MISMATCH,
                   "%s is not all-MiniLM-L6-v2's: its SHA-256 begins %.12s, not %.12s",
                   end_of(path), hex, sha256_hex);
}

void sc_file_unmap(void *bytes, size_t len)
{
    if (bytes != NULL)
        munmap(bytes, len);
}
