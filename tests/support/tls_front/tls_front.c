#include "tests/support/tls_front/tls_front.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

enum { PUMPS_MAX = 64, CHUNK = 16384 };

typedef struct {
    pthread_t thread;
    SSL      *ssl;
    int       client, server;
} pump;

struct sc_test_tls {
    SSL_CTX  *context;
    int       listener, port, to_port;
    int       stop[2]; /* a pipe: closing its writing end stops every thread */
    char      ca_file[256];
    pthread_t acceptor;
    pump      pumps[PUMPS_MAX]; /* the acceptor's, until it ended */
    size_t    pumps_used;
};

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "tests/support/tls_front: %s\n", what);
    abort();
}

static X509 *make_certificate(EVP_PKEY *key)
{
    X509           *made = X509_new();
    X509_NAME      *name = X509_get_subject_name(made);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:localhost");

    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 1);
    X509_gmtime_adj(X509_getm_notBefore(made), -60);
    X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(made, name);
    X509_set_pubkey(made, key);
    X509_add_ext(made, names, -1);
    X509_EXTENSION_free(names);
    must(X509_sign(made, key, EVP_sha256()) != 0, "signing");
    return made;
}

static void set_up_context(sc_test_tls *tls)
{
    const char *folder = getenv("TEST_TMPDIR");
    EVP_PKEY   *key = EVP_EC_gen("P-256");
    X509       *certificate = make_certificate(key);

    snprintf(tls->ca_file, sizeof tls->ca_file, "%s/ca.XXXXXX", folder != NULL ? folder : "/tmp");
    int fd = mkstemp(tls->ca_file);
    must(fd >= 0, "certificate file");
    FILE *file = fdopen(fd, "w");
    must(file != NULL && PEM_write_X509(file, certificate) == 1 && fclose(file) == 0,
         "certificate file");
    tls->context = SSL_CTX_new(TLS_server_method());
    must(SSL_CTX_use_certificate(tls->context, certificate) == 1 &&
             SSL_CTX_use_PrivateKey(tls->context, key) == 1,
         "certificate");
    SSL_CTX_set_mode(tls->context, SSL_MODE_AUTO_RETRY);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void listen_somewhere(sc_test_tls *tls)
{
    struct sockaddr_in address = loopback(0);
    socklen_t          len = sizeof address;

    tls->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(tls->listener >= 0 && bind(tls->listener, (struct sockaddr *)&address, len) == 0 &&
             listen(tls->listener, 64) == 0 &&
             getsockname(tls->listener, (struct sockaddr *)&address, &len) == 0,
         "listening");
    tls->port = ntohs(address.sin_port);
}

static bool send_all(int fd, const char *bytes, size_t len)
{
    while (len != 0) {
        ssize_t sent = send(fd, bytes, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        len -= (size_t)sent;
    }
    return true;
}

static bool from_client(pump *of)
{
    char bytes[CHUNK];

    do {
        int got = SSL_read(of->ssl, bytes, sizeof bytes);
        if (got <= 0 || !send_all(of->server, bytes, (size_t)got))
            return false;
    } while (SSL_pending(of->ssl) > 0);
    return true;
}

static bool from_server(pump *of)
{
    char    bytes[CHUNK];
    ssize_t got = recv(of->server, bytes, sizeof bytes, 0);
    return got > 0 && SSL_write(of->ssl, bytes, (int)got) == got;
}

static void *run_pump(void *argument)
{
    pump         *of = argument;
    struct pollfd fds[2] = {{.fd = of->client, .events = POLLIN},
                            {.fd = of->server, .events = POLLIN}};
    bool          open = SSL_accept(of->ssl) == 1;

    while (open && poll(fds, 2, -1) > 0)
        open = (fds[0].revents == 0 || from_client(of)) && (fds[1].revents == 0 || from_server(of));
    shutdown(of->client, SHUT_RDWR);
    shutdown(of->server, SHUT_RDWR);
    return NULL;
}

static void start_pump(sc_test_tls *tls, int client)
{
    struct sockaddr_in address = loopback(tls->to_port);
    pump              *made = &tls->pumps[tls->pumps_used++];

    made->client = client;
    made->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    made->ssl = SSL_new(tls->context);
    /* When the server is away the client finds its connection closed, as it would without us. */
    if (connect(made->server, (struct sockaddr *)&address, sizeof address) != 0)
        shutdown(client, SHUT_RDWR);
    must(SSL_set_fd(made->ssl, client) == 1 &&
             pthread_create(&made->thread, NULL, run_pump, made) == 0,
         "thread");
}

static void *accept_all(void *argument)
{
    sc_test_tls  *tls = argument;
    struct pollfd fds[2] = {{.fd = tls->listener, .events = POLLIN},
                            {.fd = tls->stop[0], .events = POLLIN}};

    while (poll(fds, 2, -1) > 0 && fds[1].revents == 0 && tls->pumps_used < PUMPS_MAX) {
        int client = accept4(tls->listener, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0)
            start_pump(tls, client);
    }
    return NULL;
}

sc_test_tls *sc_test_tls_start(int to_port)
{
    sc_test_tls *tls = calloc(1, sizeof *tls);

    must(tls != NULL && pipe2(tls->stop, O_CLOEXEC) == 0, "memory");
    tls->to_port = to_port;
    set_up_context(tls);
    listen_somewhere(tls);
    must(pthread_create(&tls->acceptor, NULL, accept_all, tls) == 0, "thread");
    return tls;
}

void sc_test_tls_stop(sc_test_tls *tls)
{
    close(tls->stop[1]);
    pthread_join(tls->acceptor, NULL);
    for (size_t i = 0; i < tls->pumps_used; i++) {
        shutdown(tls->pumps[i].client, SHUT_RDWR);
        shutdown(tls->pumps[i].server, SHUT_RDWR);
        pthread_join(tls->pumps[i].thread, NULL);
        SSL_free(tls->pumps[i].ssl);
        close(tls->pumps[i].client);
        close(tls->pumps[i].server);
    }
    close(tls->stop[0]);
    close(tls->listener);
    unlink(tls->ca_file);
    SSL_CTX_free(tls->context);
    free(tls);
}

int sc_test_tls_port(const sc_test_tls *tls)
{
    return tls->port;
}

const char *sc_test_tls_ca_file(const sc_test_tls *tls)
{
    return tls->ca_file;
}
