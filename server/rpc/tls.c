/* TLS with certificates that may change while we serve.
 *
 * The core asks before every handshake. Looking at the files costs three stat() calls then, and
 * needs no thread of its own; a file that cannot be read or parsed leaves the old certificate in
 * force. (TLS 1.2 and 1.3 are all that the core offers.) */
#include <errno.h>
#include <fcntl.h>
#include <grpc/grpc_security.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/rpc/core.h"
#include "src/base/log.h"

enum { PEM_BYTES_MAX = 1 << 20, FILES = 3 };

typedef struct {
    struct timespec modified;
    off_t           size;
    ino_t           inode;
} file_mark;

struct rpc_tls {
    /* Fixed by open. */
    const char *paths[FILES]; /* certificate, key, client authorities; the last may be NULL */
    const char *names[FILES];

    pthread_mutex_t lock;
    /* Under lock. */
    file_mark marks[FILES];
    bool      loaded;
};

static bool mark_of(const char *path, file_mark *mark)
{
    struct stat found;
    memset(mark, 0, sizeof *mark);
    if (path == NULL)
        return true;
    if (stat(path, &found) != 0)
        return false;
    mark->modified = found.st_mtim;
    mark->size = found.st_size;
    mark->inode = found.st_ino;
    return true;
}

static bool marks_equal(const file_mark *a, const file_mark *b)
{
    return a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec &&
           a->size == b->size && a->inode == b->inode;
}

static void text_free(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* The whole file, NUL-terminated, or NULL with errno. */
static char *text_read(const char *path)
{
    int    file = open(path, O_RDONLY | O_CLOEXEC);
    char  *text = file >= 0 ? calloc(1, PEM_BYTES_MAX + 1) : NULL;
    size_t len = 0;

    while (text != NULL && len < PEM_BYTES_MAX) {
        ssize_t got = read(file, text + len, PEM_BYTES_MAX - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    if (file >= 0)
        close(file);
    if (text != NULL && (len == 0 || len == PEM_BYTES_MAX)) {
        errno = len == 0 ? ENODATA : EFBIG;
        text_free(text);
        return NULL;
    }
    return text;
}

/* NULL, and *error filled, when a file cannot be read. Whether its content is a certificate, the
 * core finds out. */
static grpc_ssl_server_certificate_config *config_read(const rpc_tls *tls, sc_error *error)
{
    grpc_ssl_server_certificate_config *config = NULL;
    char                               *texts[FILES] = {NULL, NULL, NULL};

    for (size_t i = 0; i < FILES; i++) {
        if (tls->paths[i] == NULL)
            continue;
        texts[i] = text_read(tls->paths[i]);
        if (texts[i] == NULL) {
            sc_fail(error, SC_INVALID, "%s: %s: %s", tls->names[i], tls->paths[i], strerror(errno));
            goto out;
        }
    }
    grpc_ssl_pem_key_cert_pair pair = {.private_key = texts[1], .cert_chain = texts[0]};
    /* The core insists on roots even when no client certificate is asked for: any will do then. */
    config = grpc_ssl_server_certificate_config_create(texts[2] != NULL ? texts[2] : texts[0],
                                                       &pair, 1);
out:
    for (size_t i = 0; i < FILES; i++)
        text_free(texts[i]);
    return config;
}

static bool files_changed(rpc_tls *tls, file_mark *now)
{
    bool changed = !tls->loaded;
    for (size_t i = 0; i < FILES; i++) {
        if (!mark_of(tls->paths[i], &now[i]))
            return false; /* half-way through a replacement: later */
        changed = changed || !marks_equal(&now[i], &tls->marks[i]);
    }
    return changed;
}

static grpc_ssl_certificate_config_reload_status
reload(void *argument, grpc_ssl_server_certificate_config **config)
{
    rpc_tls  *tls = argument;
    file_mark now[FILES];
    sc_error  error;

    pthread_mutex_lock(&tls->lock);
    *config = NULL;
    bool again = tls->loaded;
    if (files_changed(tls, now)) {
        *config = config_read(tls, &error);
        if (*config != NULL) {
            memcpy(tls->marks, now, sizeof now);
            tls->loaded = true;
        } else {
            sc_log(SC_LOG_ERROR, "rpc.tls_reload_failed", sc_kv_text("cause", error.text));
        }
    }
    pthread_mutex_unlock(&tls->lock);
    if (*config == NULL)
        return again ? GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED
                     : GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    if (again)
        sc_log(SC_LOG_INFO, "rpc.tls_reloaded");
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
}

sc_status rpc_tls_open(const sc_rpc_options *options, rpc_tls **out, sc_error *error)
{
    rpc_tls *tls = calloc(1, sizeof *tls);
    *out = tls;
    if (tls == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for TLS");
    pthread_mutex_init(&tls->lock, NULL);
    memcpy(tls->paths,
           (const char *[FILES]){options->tls_cert_file, options->tls_key_file,
                                 options->tls_client_ca_file},
           sizeof tls->paths);
    memcpy(tls->names, (const char *[FILES]){"TLS_CERT_FILE", "TLS_KEY_FILE", "TLS_CLIENT_CA_FILE"},
           sizeof tls->names);

    /* Read once now, for an error that names the file. */
    grpc_ssl_server_certificate_config *config = config_read(tls, error);
    if (config == NULL)
        return SC_INVALID;
    grpc_ssl_server_certificate_config_destroy(config);
    return SC_OK;
}

grpc_server_credentials *rpc_tls_credentials(rpc_tls *tls)
{
    grpc_ssl_client_certificate_request_type ask =
        tls->paths[2] != NULL ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                              : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    return grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(ask, reload, tls));
}

void rpc_tls_close(rpc_tls *tls)
{
    if (tls != NULL)
        pthread_mutex_destroy(&tls->lock);
    free(tls);
}
