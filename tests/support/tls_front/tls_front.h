/* tls_front.h - TLS in front of a plain server: a listener with a certificate of its own that
 * passes bytes on. The Redis that tests can have speaks no TLS. */
#pragma once

typedef struct sc_test_tls sc_test_tls;

/* Listens on a free port of 127.0.0.1 and passes on to to_port there. The certificate is for the
 * DNS name "localhost" only. Never NULL. */
sc_test_tls *sc_test_tls_start(int to_port);
void         sc_test_tls_stop(sc_test_tls *tls);

int         sc_test_tls_port(const sc_test_tls *tls);
const char *sc_test_tls_ca_file(const sc_test_tls *tls); /* its own certificate, PEM */
