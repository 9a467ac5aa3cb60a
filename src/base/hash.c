/* OpenSSL's one-call EVP interface allocates a context per digest (about half of the
 * cost for a 100-byte key); the plain SHA256_* calls do not, and use SHA-NI all the same. */
#define OPENSSL_SUPPRESS_DEPRECATED

#include "src/base/hash.h"

#include <openssl/sha.h>

_Static_assert(sizeof(SHA256_CTX) <= sizeof(sc_hasher), "the opaque state holds OpenSSL's");
_Static_assert(_Alignof(SHA256_CTX) <= _Alignof(sc_hasher), "and is aligned for it");

static SHA256_CTX *state_of(sc_hasher *hasher)
{
    return (SHA256_CTX *)(void *)hasher;
}

sc_digest sc_sha256(const void *bytes, size_t len)
{
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_bytes(&hasher, bytes, len);
    return sc_hasher_final(&hasher);
}

void sc_hasher_init(sc_hasher *hasher)
{
    SHA256_Init(state_of(hasher));
}

void sc_hasher_bytes(sc_hasher *hasher, const void *bytes, size_t len)
{
    if (len != 0)
        SHA256_Update(state_of(hasher), bytes, len);
}

void sc_hasher_field(sc_hasher *hasher, sc_str field)
{
    sc_hasher_u64(hasher, field.len);
    sc_hasher_bytes(hasher, field.ptr, field.len);
}

void sc_hasher_u64(sc_hasher *hasher, uint64_t value)
{
    uint8_t le[8];
    for (unsigned i = 0; i < sizeof le; i++)
        le[i] = (uint8_t)(value >> (8 * i));
    sc_hasher_bytes(hasher, le, sizeof le);
}

sc_digest sc_hasher_final(sc_hasher *hasher)
{
    sc_digest digest;
    SHA256_Final(digest.bytes, state_of(hasher));
    return digest;
}

void sc_hex_encode(const void *bytes, size_t len, char *out)
{
    static const char    digits[] = "0123456789abcdef";
    const unsigned char *in = bytes;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[in[i] >> 4];
        out[2 * i + 1] = digits[in[i] & 15];
    }
    out[2 * len] = '\0';
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool sc_hex_decode(sc_str hex, void *out, size_t len)
{
    unsigned char *bytes = out;
    if (hex.len != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int high = nibble(hex.ptr[2 * i]), low = nibble(hex.ptr[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}
