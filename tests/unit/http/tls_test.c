/* An HTTPS upstream with a certificate of its own making: whom do we trust? */
#include "src/http/http.h"

#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/cmocka.h"

typedef struct {
    int         listener;
    int         port;
    char        ca_file[256];
    SSL_CTX    *context;
    X509       *certificate;
    EVP_PKEY   *key;
    pthread_t   thread;
    atomic_bool stop;
    atomic_int  requests;
} server;

/* ---- a server of a few lines ---- */

static void sign(server *s, const char *address)
{
    char names[64];
    s->key = EVP_EC_gen("P-256");
    s->certificate = X509_new();
    X509_set_version(s->certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(s->certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(s->certificate), -60);
    X509_gmtime_adj(X509_getm_notAfter(s->certificate), 3600);
    X509_NAME *name = X509_get_subject_name(s->certificate);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(s->certificate, name);
    X509_set_pubkey(s->certificate, s->key);
    snprintf(names, sizeof names, "IP:%s", address);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);
    X509_add_ext(s->certificate, extension, -1);
    X509_EXTENSION_free(extension);
    assert_true(X509_sign(s->certificate, s->key, EVP_sha256()) > 0);
}

static void write_ca(server *s)
{
    const char *dir = getenv("TEST_TMPDIR");
    snprintf(s->ca_file, sizeof s->ca_file, "%s/caXXXXXX", dir == NULL ? "/tmp" : dir);
    int   fd = mkstemp(s->ca_file);
    FILE *file = fdopen(fd, "w");
    assert_non_null(file);
    PEM_write_X509(file, s->certificate);
    fclose(file);
}

static void answer(server *s, int fd)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    char              request[4096];
    SSL              *ssl = SSL_new(s->context);
    SSL_set_fd(ssl, fd);
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, request, sizeof request) > 0) {
        atomic_fetch_add(&s->requests, 1);
        SSL_write(ssl, reply, (int)sizeof reply - 1);
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

static void *run_server(void *arg)
{
    server *s = arg;
    for (;;) {
        int fd = accept(s->listener, NULL, NULL);
        if (atomic_load(&s->stop) || fd < 0) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        answer(s, fd);
        close(fd);
    }
}

static void start_server(server *s, const char *certified_address)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t          len = sizeof address;
    *s = (server){.listener = socket(AF_INET, SOCK_STREAM, 0)};
    assert_int_equal(bind(s->listener, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    getsockname(s->listener, (struct sockaddr *)&address, &len);
    s->port = ntohs(address.sin_port);
    sign(s, certified_address);
    write_ca(s);
    s->context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(s->context, s->certificate);
    SSL_CTX_use_PrivateKey(s->context, s->key);
    pthread_create(&s->thread, NULL, run_server, s);
}

static void stop_server(server *s)
{
    atomic_store(&s->stop, true);
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    SSL_CTX_free(s->context);
    X509_free(s->certificate);
    EVP_PKEY_free(s->key);
    unlink(s->ca_file);
}

/* ---- the client ---- */

typedef struct {
    sc_http_request request;
    atomic_bool     done;
} wait;

static void on_done(sc_http_request *request)
{
    atomic_store(&SC_CONTAINER(request, wait, request)->done, true);
}

static sc_status ask(server *s, const char *ca_file, sc_error *error)
{
    const sc_http_options options = {.ca_file = ca_file};
    sc_http              *http;
    char                  url[64];
    wait                  w = {.request = {.method = SC_HTTP_GET, .body_bytes_max = 100, .error = error, .done = on_done}};
    assert_int_equal(sc_http_open(&options, &http, error), SC_OK);
    snprintf(url, sizeof url, "https://127.0.0.1:%d/", s->port);
    w.request.url = url;
    w.request.deadline = sc_instant_after_ms(sc_now(), 5000);
    assert_int_equal(sc_http_send(http, &w.request), SC_OK);
    for (int i = 0; i < 10000 && !atomic_load(&w.done); i++)
        usleep(1000);
    sc_http_close(http);
    sc_buf_fini(&w.request.reply);
    return w.request.status;
}

/* Whoever stands between us and the upstream would read every prompt, and the key. */
static void an_unknown_certificate_is_refused(void **state)
{
    server   s;
    sc_error error = {0};
    (void)state;
    start_server(&s, "127.0.0.1");
    assert_int_equal(ask(&s, NULL, &error), SC_UNAVAILABLE);
    assert_non_null(strstr(error.text, "certificate"));
    assert_int_equal(atomic_load(&s.requests), 0);
    stop_server(&s);
}

static void a_certificate_of_the_ca_file_is_taken(void **state)
{
    server   s;
    sc_error error = {0};
    (void)state;
    start_server(&s, "127.0.0.1");
    assert_int_equal(ask(&s, s.ca_file, &error), SC_OK);
    assert_int_equal(atomic_load(&s.requests), 1);
    stop_server(&s);
}

static void a_certificate_for_another_host_is_refused(void **state)
{
    server   s;
    sc_error error = {0};
    (void)state;
    start_server(&s, "127.0.0.2");
    assert_int_equal(ask(&s, s.ca_file, &error), SC_UNAVAILABLE);
    assert_int_equal(atomic_load(&s.requests), 0);
    stop_server(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_certificate_is_refused),
        cmocka_unit_test(a_certificate_of_the_ca_file_is_taken),
        cmocka_unit_test(a_certificate_for_another_host_is_refused),
    };
    signal(SIGPIPE, SIG_IGN); /* of our own little server */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
