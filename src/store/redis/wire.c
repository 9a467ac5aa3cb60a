#include "src/store/redis/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

/* Bytes that a dead peer leaves unacknowledged for so long end the connection, also when the
 * kernel would go on resending for a quarter of an hour. */
enum { USER_TIMEOUT_MS = 10000, PROBLEM_BYTES = 160 };

struct sc_tls {
    SSL_CTX *context;
};

struct sc_wire {
    int  fd;
    SSL *ssl; /* NULL: plain */
    bool connected;
    char problem[PROBLEM_BYTES];
};

/* --- TLS shared by connections --------------------------------------------------------- */

void sc_tls_close(sc_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    free(tls);
}

static bool trust(SSL_CTX *context, const char *ca_file)
{
    if (ca_file != NULL)
        return SSL_CTX_load_verify_file(context, ca_file) == 1;
    return SSL_CTX_set_default_verify_paths(context) == 1;
}

sc_status sc_tls_open(const char *ca_file, sc_tls **out, sc_error *error)
{
    sc_status status = SC_OK;
    sc_tls   *tls = calloc(1, sizeof *tls);

    *out = NULL;
    if (tls != NULL)
        tls->context = SSL_CTX_new(TLS_client_method());
    if (tls == NULL || tls->context == NULL) {
        status = sc_fail(error, SC_NO_MEMORY, "no memory for TLS");
        goto out;
    }
    SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(tls->context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (!trust(tls->context, ca_file)) {
        status = sc_fail(error, SC_INVALID, "REDIS_CA_FILE: no certificates could be read from %s",
                         ca_file != NULL ? ca_file : "the system's folder");
        goto out;
    }
    *out = tls;
    tls = NULL;
out:
    ERR_clear_error();
    sc_tls_close(tls);
    return status;
}

/* --- one connection -------------------------------------------------------------------- */

static void note_errno(sc_wire *wire, const char *what, int number)
{
    char text[96];
    snprintf(wire->problem, sizeof wire->problem, "%s: %s", what,
             strerror_r(number, text, sizeof text));
}

static bool is_address(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static bool secure(sc_wire *wire, sc_tls *tls, const char *host)
{
    if (tls == NULL)
        return true;
    wire->ssl = SSL_new(tls->context);
    if (wire->ssl == NULL || SSL_set_fd(wire->ssl, wire->fd) != 1)
        return false;
    SSL_set_connect_state(wire->ssl);
    if (is_address(host))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(wire->ssl), host) == 1;
    return SSL_set_tlsext_host_name(wire->ssl, host) == 1 && SSL_set1_host(wire->ssl, host) == 1;
}

static void tune(int fd)
{
    int on = 1, limit_ms = USER_TIMEOUT_MS;

    /* Commands leave in one write already; waiting for more would only add delay. */
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof limit_ms);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
}

sc_wire *sc_wire_open(const struct sockaddr *address, sc_tls *tls, const char *host)
{
    sc_wire  *wire = calloc(1, sizeof *wire);
    socklen_t len =
        address->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

    if (wire == NULL)
        return NULL;
    wire->fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (wire->fd < 0 || !secure(wire, tls, host)) {
        sc_wire_close(wire);
        return NULL;
    }
    tune(wire->fd);
    if (connect(wire->fd, address, len) != 0 && errno != EINPROGRESS)
        note_errno(wire, "connect", errno);
    return wire;
}

void sc_wire_close(sc_wire *wire)
{
    if (wire == NULL)
        return;
    SSL_free(wire->ssl);
    if (wire->fd >= 0)
        close(wire->fd);
    free(wire);
}

int sc_wire_fd(const sc_wire *wire)
{
    return wire->fd;
}

const char *sc_wire_problem(const sc_wire *wire)
{
    return wire->problem[0] == '\0' ? "closed by the server" : wire->problem;
}

static sc_wire_state connect_result(sc_wire *wire)
{
    int       problem = 0;
    socklen_t len = sizeof problem;

    if (wire->problem[0] != '\0')
        return SC_WIRE_BROKEN;
    if (getsockopt(wire->fd, SOL_SOCKET, SO_ERROR, &problem, &len) != 0)
        problem = errno;
    if (problem != 0) {
        note_errno(wire, "connect", problem);
        return SC_WIRE_BROKEN;
    }
    struct sockaddr_storage peer;
    len = sizeof peer;
    if (getpeername(wire->fd, (struct sockaddr *)&peer, &len) != 0)
        return SC_WIRE_WANTS_WRITE;
    wire->connected = true;
    return SC_WIRE_DONE;
}

static void note_tls(sc_wire *wire)
{
    long          verified = SSL_get_verify_result(wire->ssl);
    unsigned long code = ERR_peek_last_error();
    char          text[120] = "connection lost";

    if (verified != X509_V_OK)
        snprintf(text, sizeof text, "certificate: %s", X509_verify_cert_error_string(verified));
    else if (code != 0)
        ERR_error_string_n(code, text, sizeof text);
    snprintf(wire->problem, sizeof wire->problem, "TLS: %s", text);
}

static sc_wire_state tls_state(sc_wire *wire, int result)
{
    switch (SSL_get_error(wire->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return SC_WIRE_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return SC_WIRE_WANTS_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return SC_WIRE_BROKEN;
    default:
        note_tls(wire);
        ERR_clear_error();
        return SC_WIRE_BROKEN;
    }
}

sc_wire_state sc_wire_greet(sc_wire *wire)
{
    if (!wire->connected) {
        sc_wire_state state = connect_result(wire);
        if (state != SC_WIRE_DONE)
            return state;
    }
    if (wire->ssl == NULL)
        return SC_WIRE_DONE;
    ERR_clear_error();
    int result = SSL_do_handshake(wire->ssl);
    return result == 1 ? SC_WIRE_DONE : tls_state(wire, result);
}

static sc_wire_state plain_state(sc_wire *wire, const char *what, ssize_t result, size_t *moved,
                                 sc_wire_state later)
{
    if (result > 0) {
        *moved = (size_t)result;
        return SC_WIRE_DONE;
    }
    if (result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return later;
    if (result < 0)
        note_errno(wire, what, errno);
    return SC_WIRE_BROKEN;
}

sc_wire_state sc_wire_read(sc_wire *wire, char *out, size_t room, size_t *moved)
{
    *moved = 0;
    if (wire->ssl == NULL)
        return plain_state(wire, "read", recv(wire->fd, out, room, 0), moved, SC_WIRE_WANTS_READ);
    ERR_clear_error();
    int result = SSL_read(wire->ssl, out, room > INT_MAX ? INT_MAX : (int)room);
    if (result <= 0)
        return tls_state(wire, result);
    *moved = (size_t)result;
    return SC_WIRE_DONE;
}

sc_wire_state sc_wire_write(sc_wire *wire, const char *bytes, size_t len, size_t *moved)
{
    *moved = 0;
    if (wire->ssl == NULL)
        return plain_state(wire, "write", send(wire->fd, bytes, len, MSG_NOSIGNAL), moved,
                           SC_WIRE_WANTS_WRITE);
    ERR_clear_error();
    int result = SSL_write(wire->ssl, bytes, len > INT_MAX ? INT_MAX : (int)len);
    if (result <= 0)
        return tls_state(wire, result);
    *moved = (size_t)result;
    return SC_WIRE_DONE;
}
