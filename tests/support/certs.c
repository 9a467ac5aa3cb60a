#include "tests/support/certs.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/cmocka.h"

struct sc_authority {
    EVP_PKEY *key;
    X509     *cert;
    long      serial;
};

static void extend(X509 *cert, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(cert, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *cert_make(EVP_PKEY *key, const char *name, long serial)
{
    X509      *cert = X509_new();
    X509_NAME *subject = X509_get_subject_name(cert);

    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    return cert;
}

static void cert_write(X509 *cert, const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
}

sc_authority *sc_authority_make(const char *path)
{
    static long   serial = 1;
    sc_authority *authority = calloc(1, sizeof *authority);

    assert_non_null(authority);
    authority->key = EVP_EC_gen("P-256");
    authority->serial = 1000 * serial++;
    authority->cert = cert_make(authority->key, "test authority", authority->serial++);
    X509_set_issuer_name(authority->cert, X509_get_subject_name(authority->cert));
    extend(authority->cert, authority->cert, NID_basic_constraints, "critical,CA:TRUE");
    extend(authority->cert, authority->cert, NID_key_usage, "critical,keyCertSign,cRLSign");
    assert_true(X509_sign(authority->cert, authority->key, EVP_sha256()) > 0);
    cert_write(authority->cert, path);
    return authority;
}

void sc_authority_free(sc_authority *authority)
{
    X509_free(authority->cert);
    EVP_PKEY_free(authority->key);
    free(authority);
}

void sc_authority_issue(sc_authority *authority, const char *names, const char *cert_path,
                        const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509     *cert = cert_make(key, "test", authority->serial++);
    FILE     *file = fopen(key_path, "w");

    assert_non_null(file);
    X509_set_issuer_name(cert, X509_get_subject_name(authority->cert));
    extend(cert, authority->cert, NID_subject_alt_name, names);
    assert_true(X509_sign(cert, authority->key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    cert_write(cert, cert_path);
    X509_free(cert);
    EVP_PKEY_free(key);
}
