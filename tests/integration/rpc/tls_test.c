/* TLS and mTLS: who gets in, and certificates that change while the server runs. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "server/rpc/rpc.h"
#include "src/base/log.h"
#include "tests/support/certs.h"
#include "tests/support/cmocka.h"

static char folder[256];

/* A path in the test's folder; four may be in use at a time. */
static const char *in_folder(const char *name)
{
    static char paths[8][512];
    static int  at;
    char       *path = paths[at++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* Tells the caller what its certificate says. */
static void who(sc_rpc_call *call, sc_str request, void *context)
{
    char name[256];
    (void)request;
    (void)context;
    bool known = sc_rpc_identity(call, name, sizeof name);
    sc_rpc_reply(call, &(sc_rpc_piece){.bytes = known ? sc_str_of(name) : SC_STR("nobody")}, 1);
}

typedef struct {
    char    cert[512], key[512], ca[512];
    sc_rpc *rpc;
    char    target[64];
} server;

static server *up(bool ask_certificates)
{
    server        *s = calloc(1, sizeof *s);
    sc_error       error = {0};
    sc_rpc_options options = {.listen = "127.0.0.1:0",
                              .threads = 1,
                              .inflight_max = 10,
                              .streams_max = 10,
                              .message_bytes_max = 65536,
                              .metadata_bytes_max = 16384,
                              .grace_ms = 100};
    snprintf(s->cert, sizeof s->cert, "%s/server.pem", folder);
    snprintf(s->key, sizeof s->key, "%s/server.key", folder);
    snprintf(s->ca, sizeof s->ca, "%s/clients.pem", folder);
    options.tls_cert_file = s->cert;
    options.tls_key_file = s->key;
    options.tls_client_ca_file = ask_certificates ? s->ca : NULL;
    assert_int_equal(sc_rpc_open(&options, &s->rpc, &error), SC_OK);
    assert_int_equal(sc_rpc_serve(s->rpc, &(sc_rpc_method){.path = "/t.T/Who", .handle = who}), SC_OK);
    if (sc_rpc_start(s->rpc, &error) != SC_OK)
        fail_msg("%s", error.text);
    snprintf(s->target, sizeof s->target, "127.0.0.1:%d", sc_rpc_port(s->rpc, 0));
    return s;
}

static void down(server *s)
{
    sc_rpc_close(s->rpc);
    free(s);
}

/* Over a connection of its own; the reply is in seen. */
static char seen[256];

static sc_status ask(const server *s, bool tls, const char *ca, const char *cert, const char *key)
{
    sc_client        *client;
    sc_error          error = {0};
    char             *reply = NULL;
    size_t            len;
    sc_client_options options = {.target = s->target,
                                 .tls = tls,
                                 .ca_file = ca,
                                 .cert_file = cert,
                                 .key_file = key,
                                 .server_name = tls ? "localhost" : NULL};

    sc_status status = sc_client_open(&options, &client, &error);
    if (status == SC_OK)
        status = sc_client_ask(client, "/t.T/Who", SC_STR(""), 5000, &reply, &len, NULL, &error);
    snprintf(seen, sizeof seen, "%s", reply != NULL ? reply : "");
    free(reply);
    sc_client_close(client);
    return status;
}

static void only_trusted_tls_gets_an_answer(void **state)
{
    sc_authority *ours = sc_authority_make(in_folder("ca.pem"));
    sc_authority *others = sc_authority_make(in_folder("others.pem"));
    (void)state;
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    server *s = up(false);
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    assert_string_equal(seen, "nobody");
    assert_int_equal(ask(s, true, in_folder("others.pem"), NULL, NULL), SC_UNAVAILABLE);
    assert_int_equal(ask(s, false, NULL, NULL, NULL), SC_UNAVAILABLE);
    down(s);
    sc_authority_free(ours);
    sc_authority_free(others);
}

/* A certificate runs out every few weeks; nobody should restart a cache for that. */
static void a_new_certificate_serves_without_a_restart(void **state)
{
    sc_authority *first = sc_authority_make(in_folder("ca.pem"));
    sc_authority *second = sc_authority_make(in_folder("ca2.pem"));
    (void)state;
    sc_authority_issue(first, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    server *s = up(false);
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    sc_authority_issue(second, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    assert_int_equal(ask(s, true, in_folder("ca2.pem"), NULL, NULL), SC_OK);
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_UNAVAILABLE);
    down(s);
    sc_authority_free(first);
    sc_authority_free(second);
}

static void spoil(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("not a certificate\n", file);
    fclose(file);
}

static void a_spoiled_certificate_leaves_the_old_one_in_force(void **state)
{
    sc_authority *ours = sc_authority_make(in_folder("ca.pem"));
    (void)state;
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    server *s = up(false);
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    spoil(in_folder("server.pem"));
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    unlink(in_folder("server.key"));
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    /* A certificate whose key has not followed yet. */
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("other.key"));
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    assert_int_equal(ask(s, true, in_folder("ca.pem"), NULL, NULL), SC_OK);
    down(s);
    sc_authority_free(ours);
}

static void mutual_tls_names_the_caller(void **state)
{
    sc_authority *ours = sc_authority_make(in_folder("ca.pem"));
    sc_authority *clients = sc_authority_make(in_folder("clients.pem"));
    sc_authority *others = sc_authority_make(in_folder("others.pem"));
    const char   *ca = in_folder("ca.pem");
    (void)state;
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    server *s = up(true);
    sc_authority_issue(clients, "DNS:shop.example,URI:spiffe://corp/shop", in_folder("client.pem"),
                       in_folder("client.key"));
    assert_int_equal(ask(s, true, ca, in_folder("client.pem"), in_folder("client.key")), SC_OK);
    assert_string_equal(seen, "spiffe://corp/shop");
    sc_authority_issue(clients, "DNS:shop.example,DNS:b.example", in_folder("client.pem"),
                       in_folder("client.key"));
    ca = in_folder("ca.pem");
    assert_int_equal(ask(s, true, ca, in_folder("client.pem"), in_folder("client.key")), SC_OK);
    assert_string_equal(seen, "shop.example");

    assert_int_equal(ask(s, true, ca, NULL, NULL), SC_UNAVAILABLE);
    sc_authority_issue(others, "URI:spiffe://corp/shop", in_folder("client.pem"),
                       in_folder("client.key"));
    ca = in_folder("ca.pem");
    assert_int_equal(ask(s, true, ca, in_folder("client.pem"), in_folder("client.key")),
                     SC_UNAVAILABLE);
    down(s);
    sc_authority_free(ours);
    sc_authority_free(clients);
    sc_authority_free(others);
}

/* The handshake's outcome with one version of the protocol only. */
static bool handshake(const server *s, int version)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)sc_rpc_port(s->rpc, 0))};
    static const unsigned char h2[] = "\x02h2";
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int      socket_ = socket(AF_INET, SOCK_STREAM, 0);

    SSL_CTX_set_security_level(context, 0); /* or our own side would refuse the old ones */
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_alpn_protos(context, h2, 3);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(socket_, (struct sockaddr *)&to, sizeof to), 0);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, socket_);
    bool ok = SSL_connect(ssl) == 1;
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(socket_);
    return ok;
}

static void versions_before_1_2_are_refused(void **state)
{
    sc_authority *ours = sc_authority_make(in_folder("ca.pem"));
    (void)state;
    sc_authority_issue(ours, "DNS:localhost", in_folder("server.pem"), in_folder("server.key"));
    server *s = up(false);
    assert_true(handshake(s, TLS1_3_VERSION));
    assert_true(handshake(s, TLS1_2_VERSION));
    assert_false(handshake(s, TLS1_1_VERSION));
    assert_false(handshake(s, TLS1_VERSION));
    down(s);
    sc_authority_free(ours);
}

static void mistakes_in_the_files_stop_the_start(void **state)
{
    sc_rpc_options options = {.listen = "127.0.0.1:0", .threads = 1, .inflight_max = 1,
                              .streams_max = 1, .message_bytes_max = 1024, .metadata_bytes_max = 8192};
    sc_rpc  *rpc;
    sc_error error = {0};
    (void)state;
    options.tls_cert_file = in_folder("server.pem");
    assert_int_equal(sc_rpc_open(&options, &rpc, &error), SC_INVALID);
    assert_non_null(strstr(error.text, "TLS_KEY_FILE"));
    options.tls_key_file = in_folder("nowhere.key");
    assert_int_equal(sc_rpc_open(&options, &rpc, &error), SC_INVALID);
    assert_non_null(strstr(error.text, "nowhere.key"));

    spoil(in_folder("server.pem"));
    spoil(in_folder("server.key"));
    options.tls_cert_file = in_folder("server.pem");
    options.tls_key_file = in_folder("server.key");
    sc_status status = sc_rpc_open(&options, &rpc, &error);
    if (status == SC_OK)
        status = sc_rpc_start(rpc, &error);
    assert_int_not_equal(status, SC_OK);
    sc_rpc_close(rpc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_trusted_tls_gets_an_answer),
        cmocka_unit_test(a_new_certificate_serves_without_a_restart),
        cmocka_unit_test(a_spoiled_certificate_leaves_the_old_one_in_force),
        cmocka_unit_test(mutual_tls_names_the_caller),
        cmocka_unit_test(versions_before_1_2_are_refused),
        cmocka_unit_test(mistakes_in_the_files_stop_the_start),
    };
    const char *base = getenv("TEST_TMPDIR");
    snprintf(folder, sizeof folder, "%s/tls.XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(folder) == NULL)
        return 1;
    sc_log_set_level(SC_LOG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
