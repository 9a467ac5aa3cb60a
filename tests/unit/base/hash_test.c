#include "tests/support/cmocka.h"

#include "src/base/hash.h"

static void assert_digest(sc_digest digest, const char *hex)
{
    char shown[SC_DIGEST_HEX_BYTES + 1];
    sc_hex_encode(digest.bytes, sizeof digest.bytes, shown);
    assert_string_equal(shown, hex);
}

/* FIPS 180-4's examples: keys in Redis would not be found by another server. */
static void sha256_is_sha256(void **state)
{
    (void)state;
    assert_digest(sc_sha256("", 0),
                  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_digest(sc_sha256("abc", 3),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_bytes(&hasher, "a", 1);
    sc_hasher_bytes(&hasher, NULL, 0);
    sc_hasher_bytes(&hasher, "bc", 2);
    assert_digest(sc_hasher_final(&hasher),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* "ab"+"c" and "a"+"bc" would be one key. */
static void fields_do_not_run_together(void **state)
{
    (void)state;
    sc_hasher one, two;
    sc_hasher_init(&one);
    sc_hasher_field(&one, SC_STR("ab"));
    sc_hasher_field(&one, SC_STR("c"));
    sc_hasher_init(&two);
    sc_hasher_field(&two, SC_STR("a"));
    sc_hasher_field(&two, SC_STR("bc"));
    sc_digest a = sc_hasher_final(&one), b = sc_hasher_final(&two);
    assert_false(sc_digest_equal(&a, &b));
}

/* The layout that other programs would have to follow: 8 bytes of length, little-endian. */
static void a_field_is_its_length_and_its_bytes(void **state)
{
    (void)state;
    sc_hasher hasher;
    sc_hasher_init(&hasher);
    sc_hasher_field(&hasher, SC_STR("abc"));
    sc_hasher_u64(&hasher, 0x0102030405060708u);
    sc_digest a = sc_hasher_final(&hasher);
    sc_digest b = sc_sha256("\x03\0\0\0\0\0\0\0abc\x08\x07\x06\x05\x04\x03\x02\x01", 19);
    assert_true(sc_digest_equal(&a, &b));
}

static void a_copied_hasher_goes_its_own_way(void **state)
{
    (void)state;
    sc_hasher one, two;
    sc_hasher_init(&one);
    sc_hasher_bytes(&one, "a", 1);
    two = one;
    sc_hasher_bytes(&two, "x", 1);
    sc_hasher_bytes(&one, "bc", 2);
    assert_digest(sc_hasher_final(&one),
                  "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sc_digest a = sc_hasher_final(&two), b = sc_sha256("ax", 2);
    assert_true(sc_digest_equal(&a, &b));
}

/* An id from a caller that is too short, or no hex, would name some other entry. */
static void only_exact_hex_is_read(void **state)
{
    (void)state;
    unsigned char out[2];
    assert_true(sc_hex_decode(SC_STR("a0Ff"), out, 2));
    assert_int_equal(out[0], 0xa0);
    assert_int_equal(out[1], 0xff);
    assert_false(sc_hex_decode(SC_STR("a0F"), out, 2));
    assert_false(sc_hex_decode(SC_STR("a0Fff"), out, 2));
    assert_false(sc_hex_decode(SC_STR("a0Fg"), out, 2));
    assert_false(sc_hex_decode(SC_STR("a 0f"), out, 2));
    assert_true(sc_hex_decode((sc_str){NULL, 0}, out, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_is_sha256),
        cmocka_unit_test(fields_do_not_run_together),
        cmocka_unit_test(a_field_is_its_length_and_its_bytes),
        cmocka_unit_test(a_copied_hasher_goes_its_own_way),
        cmocka_unit_test(only_exact_hex_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
