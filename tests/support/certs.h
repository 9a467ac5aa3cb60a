/* certs.h - certificates for a test, made on the spot. A failure stops the test. */
#pragma once

typedef struct sc_authority sc_authority;

/* A certificate authority of its own; its certificate is written to path. */
sc_authority *sc_authority_make(const char *path);
void          sc_authority_free(sc_authority *authority);

/* A key and a certificate signed by the authority, written to the paths. names is a
 * subjectAltName, "DNS:localhost,URI:spiffe://corp/shop". */
void sc_authority_issue(sc_authority *authority, const char *names, const char *cert_path,
                        const char *key_path);
