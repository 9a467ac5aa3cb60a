/* Names and the index. Two settings that share a name would read each other's vectors. */
#include <stdio.h>

#include "src/store/redis/schema.h"
#include "tests/support/cmocka.h"
#include "tests/unit/store/redis/replies.h"

static const sc_redis_options usual = {.cache_namespace = "ns",
                                       .hnsw_m = 16,
                                       .ef_construction = 64,
                                       .vector_type = SC_REDIS_FLOAT16,
                                       .algorithm = SC_REDIS_HNSW,
                                       .dim = 384,
                                       .embedding_model = "m"};

static sc_redis_schema make(sc_redis_options options)
{
    sc_redis_schema schema;
    sc_error        error = {0};
    if (sc_redis_schema_make(&options, &schema, &error) != SC_OK)
        fail_msg("%s", error.text);
    return schema;
}

static void names_follow_from_the_settings(void **state)
{
    sc_redis_schema  a = make(usual), b = make(usual);
    sc_redis_options other;
    (void)state;

    assert_string_equal(a.index, b.index);
    assert_string_equal(a.prefix, b.prefix);
    assert_memory_equal(a.prefix, "ns:v1:", 6);
    other = usual, other.embedding_model = "n";
    assert_string_not_equal(make(other).prefix, a.prefix);
    other = usual, other.dim = 768;
    assert_string_not_equal(make(other).prefix, a.prefix);
    other = usual, other.vector_type = SC_REDIS_FLOAT32;
    assert_string_not_equal(make(other).prefix, a.prefix);
    /* The same entries, another index over them. */
    other = usual, other.hnsw_m = 32;
    assert_string_equal(make(other).prefix, a.prefix);
    assert_string_not_equal(make(other).index, a.index);
    other = usual, other.ef_construction = 100;
    assert_string_not_equal(make(other).index, a.index);
    other = usual, other.algorithm = SC_REDIS_FLAT;
    assert_string_not_equal(make(other).index, a.index);
    other = usual, other.ef_runtime = 99;
    assert_string_equal(make(other).index, a.index);
}

static void bad_namespaces_and_dimensions_are_refused(void **state)
{
    static const char *const bad[] = {
        "",    "a b",  "a*",       "a{b}",
        "a:b", "a[b]", "\xc3\xa4", "12345678901234567890123456789012345678901"};
    sc_redis_schema schema;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_redis_options options = usual;
        options.cache_namespace = bad[i];
        assert_int_equal(sc_redis_schema_make(&options, &schema, NULL), SC_INVALID);
    }
    sc_redis_options options = usual;
    options.cache_namespace = "1234567890123456789012345678901234567890";
    assert_int_equal(sc_redis_schema_make(&options, &schema, NULL), SC_OK);
    options.dim = 0;
    assert_int_equal(sc_redis_schema_make(&options, &schema, NULL), SC_INVALID);
    options.dim = SC_REDIS_DIM_MAX + 1;
    assert_int_equal(sc_redis_schema_make(&options, &schema, NULL), SC_INVALID);
}

static void keys_carry_the_id(void **state)
{
    sc_redis_schema schema = make(usual);
    sc_digest       id = sc_sha256("x", 1), back;
    char            key[SC_REDIS_KEY_BYTES];
    bool            mine;
    (void)state;

    size_t len = sc_redis_schema_key(&schema, &id, key);
    assert_int_equal(strlen(key), len);
    assert_true(sc_redis_schema_id(&schema, (sc_str){key, len}, &back, &mine));
    assert_true(mine);
    assert_memory_equal(&id, &back, sizeof id);
    assert_false(sc_redis_schema_id(&schema, (sc_str){key, len - 1}, &back, &mine));
    key[8] ^= 1; /* another model's */
    assert_true(sc_redis_schema_id(&schema, (sc_str){key, len}, &back, &mine));
    assert_false(mine);
    key[len - 1] = 'A';
    assert_false(sc_redis_schema_id(&schema, (sc_str){key, len}, &back, &mine));
    key[len - 1] = 'g';
    assert_false(sc_redis_schema_id(&schema, (sc_str){key, len}, &back, &mine));
}

/* Raw tags would let a comma, a blank or a NUL in a name mix two tenants. */
static void tags_are_hex_of_a_fixed_length(void **state)
{
    static const sc_str values[] = {{"", 0},   {"a,b", 3},  {"a", 1},
                                    {" a", 2}, {"a\0b", 3}, {"A", 1}};
    char                tags[6][SC_REDIS_TAG_BYTES];
    (void)state;

    for (size_t i = 0; i < 6; i++) {
        sc_redis_tag_text(values[i], tags[i]);
        assert_int_equal(strspn(tags[i], "0123456789abcdef"), 32);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(tags[i], tags[k]);
    }
    sc_redis_tag_guard(0, tags[0]);
    assert_string_equal(tags[0], "0000000000000000");
}

static const char info_format[] =
    "[index_name x index_definition [key_type HASH prefixes [%s] default_score 1] attributes ["
    "[identifier v attribute v type VECTOR algorithm HNSW data_type %s dim :%d distance_metric "
    "COSINE M :16 ef_construction :64]"
    "[identifier scope attribute scope type TAG SEPARATOR ,] [identifier guard attribute guard "
    "type TAG]"
    "[identifier tenant attribute tenant type TAG] [identifier model attribute model type TAG]"
    "[identifier corpus attribute corpus type TAG] [identifier sys attribute sys type TAG]"
    "[identifier tags attribute tags type %s] [identifier created attribute created type NUMERIC]"
    "] num_docs 12 hash_indexing_failures :3 percent_indexed 0.5]";

static sc_redis_index check(const char *prefix, const char *type, int dim, const char *tag)
{
    sc_redis_schema schema = make(usual);
    char            text[2048];
    sc_redis_index  index;

    snprintf(text, sizeof text, info_format, prefix == NULL ? schema.prefix : prefix, type, dim,
             tag);
    redisReply *info = sc_test_reply(text);
    assert_int_equal(sc_redis_schema_check(&schema, info, &index), SC_OK);
    freeReplyObject(info);
    return index;
}

static void an_index_is_compared_field_by_field(void **state)
{
    (void)state;
    sc_redis_index index = check(NULL, "FLOAT16", 384, "TAG");
    assert_true(index.fits);
    assert_int_equal(index.documents, 12);
    assert_int_equal(index.failures, 3);
    assert_true(index.percent_indexed == 0.5);
    assert_string_equal(check("else:", "FLOAT16", 384, "TAG").problem, "prefix");
    assert_string_equal(check(NULL, "FLOAT32", 384, "TAG").problem, "data_type");
    assert_string_equal(check(NULL, "FLOAT16", 768, "TAG").problem, "dim");
    assert_string_equal(check(NULL, "FLOAT16", 384, "TEXT").problem, "tags");
    assert_false(check(NULL, "FLOAT16", 384, "TEXT").fits);
}

static void odd_replies_to_ft_info_are_corrupt(void **state)
{
    static const char *const odd[] = {"[]", "text", ":1", "~", "[attributes]", "[index_name x]"};
    sc_redis_schema          schema = make(usual);
    sc_redis_index           index;
    (void)state;
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        redisReply *info = sc_test_reply(odd[i]);
        assert_int_equal(sc_redis_schema_check(&schema, info, &index), SC_CORRUPT);
        freeReplyObject(info);
    }
    redisReply *info = sc_test_reply(
        "[attributes [:1 ~ [] [attribute] [attribute v]] percent_indexed nan num_docs -5]");
    assert_int_equal(sc_redis_schema_check(&schema, info, &index), SC_OK);
    assert_false(index.fits);
    assert_int_equal(index.documents, 0);
    freeReplyObject(info);
}

static int tag_of(const sc_redis_schema *schema, const char *index)
{
    return sc_redis_schema_tag_of(schema, sc_str_of(index));
}

/* An index of other settings, or a name that only looks like ours, must not be taken for this one. */
static void a_tag_is_part_of_the_name_and_of_nothing_else(void **state)
{
    sc_redis_schema plain = make(usual), tagged = make(usual);
    char            name[2 * SC_REDIS_NAME_BYTES];
    (void)state;

    assert_int_equal(plain.tag, -1);
    sc_redis_schema_retag(&tagged, 12345);
    assert_string_equal(tagged.prefix, plain.prefix);
    snprintf(name, sizeof name, "%s:{12345}", plain.index);
    assert_string_equal(tagged.index, name);
    assert_int_equal(tag_of(&plain, name), 12345);
    sc_redis_schema_retag(&tagged, 7);
    assert_int_equal(tag_of(&tagged, name), 12345);
    assert_int_equal(tag_of(&tagged, tagged.index), 7);
    snprintf(name, sizeof name, "%s:{7}", plain.used);
    assert_string_equal(tagged.used, name);
    snprintf(name, sizeof name, "%s:{7}", plain.sweeper);
    assert_string_equal(tagged.sweeper, name);
    static const char *const bad[] = {"", ":{}", ":{x}", ":{-1}", ":{7", ":{7}x", ":7}", ":{7}}",
                                      ":{1234567}", "0:{7}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        snprintf(name, sizeof name, "%s%s", plain.index, bad[i]);
        if (tag_of(&plain, name) != -1)
            fail_msg("%s was read", name);
    }
    snprintf(name, sizeof name, "other%s:{7}", plain.index + 5);
    assert_int_equal(tag_of(&plain, name), -1);
    assert_int_equal(tag_of(&plain, ""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_follow_from_the_settings),
        cmocka_unit_test(bad_namespaces_and_dimensions_are_refused),
        cmocka_unit_test(keys_carry_the_id),
        cmocka_unit_test(tags_are_hex_of_a_fixed_length),
        cmocka_unit_test(a_tag_is_part_of_the_name_and_of_nothing_else),
        cmocka_unit_test(an_index_is_compared_field_by_field),
        cmocka_unit_test(odd_replies_to_ft_info_are_corrupt),
    };
    return cmocka_run_group_tests_name("store_redis_schema", tests, NULL, NULL);
}
