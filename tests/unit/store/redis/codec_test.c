/* An entry as fields, and back. Whatever decodes may be served to a user. */
#include <math.h>
#include <stdlib.h>

#include "src/store/redis/codec.h"
#include "src/store/redis/vector.h"
#include "tests/support/cmocka.h"
#include "tests/support/fail_malloc.h"
#include "tests/support/store/store.h"
#include "tests/unit/store/redis/replies.h"

enum { DIM = 4 };

static sc_redis_schema schema_of(int type)
{
    sc_redis_schema  schema;
    sc_redis_options options = {
        .cache_namespace = "t", .dim = DIM, .embedding_model = "m", .vector_type = type};
    assert_int_equal(sc_redis_schema_make(&options, &schema, NULL), SC_OK);
    return schema;
}

/* The words of the n-th command in bytes, as the reply that hiredis makes of them. */
static redisReply *command_at(const sc_buf *bytes, size_t number)
{
    redisReader *reader = sc_resp_reader();
    void        *reply = NULL;

    assert_int_equal(redisReaderFeed(reader, bytes->data, bytes->len), REDIS_OK);
    for (size_t i = 0; i <= number; i++) {
        if (reply != NULL)
            freeReplyObject(reply);
        assert_int_equal(redisReaderGetReply(reader, &reply), REDIS_OK);
    }
    redisReaderFree(reader);
    return reply;
}

/* What HSET would store. */
static sc_redis_fields fields_of(const redisReply *hset)
{
    sc_redis_fields fields = {0};
    for (size_t i = 2; i + 1 < hset->elements; i += 2)
        for (size_t n = 0; n < SC_REDIS_ALL_FIELDS; n++)
            if (strcmp(hset->element[i]->str, sc_redis_field_names[n]) == 0)
                *sc_redis_field(&fields, n) =
                    (sc_str){hset->element[i + 1]->str, hset->element[i + 1]->len};
    return fields;
}

typedef struct {
    sc_buf          bytes;
    redisReply     *hset;
    sc_redis_fields fields;
} encoded;

static void encode(const sc_entry_fields *entry, encoded *out)
{
    const float     vector[DIM] = {0.6f, 0.8f, 0, 0};
    sc_redis_schema schema = schema_of(SC_REDIS_FLOAT32);

    sc_buf_init(&out->bytes, 1 << 20);
    assert_int_equal(sc_redis_entry_encode(&schema, entry, vector, &out->bytes), 4);
    assert_int_equal(out->bytes.failed, SC_OK);
    out->hset = command_at(&out->bytes, 1);
    assert_string_equal(out->hset->element[0]->str, "HSET");
    out->fields = fields_of(out->hset);
}

static void release(encoded *of)
{
    freeReplyObject(of->hset);
    sc_buf_fini(&of->bytes);
}

static void an_entry_survives_the_way(void **state)
{
    sc_entry_fields entry = sc_test_fields(7);
    encoded         made;
    sc_entry       *back;
    float           vector[DIM];
    (void)state;

    entry.guard = 0xfedcba9876543210u;
    entry.answer = (sc_str){"with\0NUL\r\n$5\r\n", 14};
    encode(&entry, &made);
    assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_OK);
    assert_memory_equal(&back->f.id, &entry.id, sizeof entry.id);
    assert_memory_equal(&back->f.scope, &entry.scope, sizeof entry.scope);
    assert_memory_equal(&back->f.system_hash, &entry.system_hash, sizeof entry.system_hash);
    assert_true(back->f.guard == entry.guard && back->f.version == entry.version);
    assert_true(back->f.created.ms == entry.created.ms && back->f.expires.ms == entry.expires.ms);
    assert_true(back->f.temperature == entry.temperature);
    assert_true(sc_str_equal(back->f.answer, entry.answer));
    assert_true(sc_str_equal(back->f.tenant, entry.tenant));
    assert_int_equal(back->f.tags_count, 2);
    assert_true(sc_str_equal(back->f.tags[1], SC_STR("round")));
    assert_true(sc_vector_decode(made.fields.vector, DIM, false, vector));
    assert_true(fabsf(vector[1] - 0.8f) < 1e-6f);
    sc_entry_unref(back);
    release(&made);
}

/* Each write to an indexed HASH costs milliseconds: exactly one HSET. */
static void the_commands_are_one_transaction(void **state)
{
    sc_entry_fields entry = sc_test_fields(1);
    sc_redis_schema schema = schema_of(SC_REDIS_FLOAT16);
    const float     vector[DIM] = {1, 0, 0, 0};
    const char     *with[] = {"MULTI", "HSET", "PEXPIREAT", "EXEC"};
    const char     *without[] = {"MULTI", "HDEL", "HSET", "PEXPIREAT", "EXEC"};
    sc_buf          out;
    (void)state;

    sc_buf_init(&out, 1 << 20);
    assert_int_equal(sc_redis_entry_encode(&schema, &entry, vector, &out), 4);
    for (size_t i = 0; i < 4; i++) {
        redisReply *command = command_at(&out, i);
        assert_string_equal(command->element[0]->str, with[i]);
        freeReplyObject(command);
    }
    sc_buf_clear(&out);
    assert_int_equal(sc_redis_entry_encode(&schema, &entry, NULL, &out), 5);
    for (size_t i = 0; i < 5; i++) {
        redisReply *command = command_at(&out, i);
        assert_string_equal(command->element[0]->str, without[i]);
        freeReplyObject(command);
    }
    sc_buf_fini(&out);
}

static void an_entry_under_another_key_is_refused(void **state)
{
    sc_entry_fields entry = sc_test_fields(1);
    sc_digest       other = sc_sha256("other", 5);
    encoded         made;
    sc_entry       *back;
    (void)state;

    encode(&entry, &made);
    assert_int_equal(sc_redis_entry_decode(&made.fields, &other, &back), SC_CORRUPT);
    assert_null(back);
    release(&made);
}

/* Every shortened and every lengthened meta: no byte may be read past its end (ASan looks). */
static void a_meta_of_another_length_is_refused(void **state)
{
    sc_entry_fields entry = sc_test_fields(1);
    encoded         made;
    sc_entry       *back;
    (void)state;

    encode(&entry, &made);
    sc_str whole = made.fields.meta;
    for (size_t len = 0; len < whole.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, whole.ptr, len);
        made.fields.meta = (sc_str){copy, len};
        assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
        free(copy);
    }
    char *longer = calloc(1, whole.len + 1);
    memcpy(longer, whole.ptr, whole.len);
    made.fields.meta = (sc_str){longer, whole.len + 1};
    assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
    free(longer);
    release(&made);
}

static void missing_or_odd_fields_are_refused(void **state)
{
    sc_entry_fields          entry = sc_test_fields(1);
    encoded                  made;
    sc_entry                *back;
    static const char *const versions[] = {"", "1", "0000000000000000", "00000000000000zz",
                                           "000000000000000001"};
    static const char *const expiries[] = {"",  "0", "-1", "1.5", "1e9", "99999999999999999999",
                                           " 1"};
    (void)state;

    encode(&entry, &made);
    sc_redis_fields good = made.fields;
    for (size_t i = 0; i < 5; i++) {
        made.fields = good;
        *sc_redis_field(&made.fields, i) = (sc_str){NULL, 0};
        assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
    }
    for (size_t i = 0; i < sizeof versions / sizeof versions[0]; i++) {
        made.fields = good;
        made.fields.version = sc_str_of(versions[i]);
        assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
    }
    for (size_t i = 0; i < sizeof expiries / sizeof expiries[0]; i++) {
        made.fields = good;
        made.fields.expires = sc_str_of(expiries[i]);
        assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
    }
    release(&made);
}

/* What no reply could carry must not get as far as one: a client would refuse all of it. */
static void what_is_no_text_is_refused(void **state)
{
    static const sc_str bad = {"caf\xc3", 4}, surrogate = {"\xed\xa0\x80", 3};
    sc_entry_fields     plain = sc_test_fields(1);
    encoded             made;
    sc_entry           *back;
    (void)state;

    encode(&plain, &made);
    sc_redis_fields good = made.fields;
    for (size_t i = 3; i < SC_REDIS_ENTRY_FIELDS; i++) {
        made.fields = good;
        *sc_redis_field(&made.fields, i) = i % 2 ? bad : surrogate;
        assert_int_equal(sc_redis_entry_decode(&made.fields, &plain.id, &back), SC_CORRUPT);
    }
    release(&made);
    for (size_t i = 0; i < 6; i++) {
        sc_entry_fields entry = plain;
        const sc_str    tags[] = {SC_STR("red"), bad};
        sc_str *const   texts[] = {&entry.tenant, &entry.model, &entry.corpus_version,
                                   &entry.finish_reason, &entry.answered_by};
        if (i < 5)
            *texts[i] = bad;
        else
            entry.tags = tags;
        encode(&entry, &made);
        assert_int_equal(sc_redis_entry_decode(&made.fields, &entry.id, &back), SC_CORRUPT);
        assert_null(back);
        release(&made);
    }
}

static void hmget_replies_are_read(void **state)
{
    sc_redis_fields fields;
    bool            absent;
    redisReply     *reply = sc_test_reply("[~ ~]");
    (void)state;

    assert_true(sc_redis_fields_read(reply, 2, &fields, &absent) && absent);
    assert_false(sc_redis_fields_read(reply, 3, &fields, &absent));
    freeReplyObject(reply);
    reply = sc_test_reply("[v1 ~]");
    assert_true(sc_redis_fields_read(reply, 2, &fields, &absent) && !absent);
    assert_true(sc_str_equal(fields.version, SC_STR("v1")));
    assert_null(fields.expires.ptr);
    freeReplyObject(reply);
    reply = sc_test_reply("[v1 :3]");
    assert_false(sc_redis_fields_read(reply, 2, &fields, &absent));
    freeReplyObject(reply);
}

static bool encode_and_decode(void *context)
{
    sc_entry_fields *entry = context;
    sc_redis_schema  schema = schema_of(SC_REDIS_FLOAT16);
    const float      vector[DIM] = {1, 0, 0, 0};
    sc_buf           out;

    sc_buf_init(&out, 1 << 20);
    sc_redis_entry_encode(&schema, entry, vector, &out);
    bool written = out.failed == SC_OK;
    sc_buf_fini(&out);
    return written;
}

/* A command that lacks a piece must never be sent: the failure sticks to the buffer. */
static void a_failed_allocation_spoils_the_whole_command(void **state)
{
    sc_entry_fields entry = sc_test_fields(1);
    (void)state;
    assert_true(sc_fail_malloc_each(encode_and_decode, &entry) >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_survives_the_way),
        cmocka_unit_test(the_commands_are_one_transaction),
        cmocka_unit_test(an_entry_under_another_key_is_refused),
        cmocka_unit_test(a_meta_of_another_length_is_refused),
        cmocka_unit_test(missing_or_odd_fields_are_refused),
        cmocka_unit_test(what_is_no_text_is_refused),
        cmocka_unit_test(hmget_replies_are_read),
        cmocka_unit_test(a_failed_allocation_spoils_the_whole_command),
    };
    return cmocka_run_group_tests_name("store_redis_codec", tests, NULL, NULL);
}
