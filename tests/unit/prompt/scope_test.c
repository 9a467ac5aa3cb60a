#include <stdio.h>

#include "tests/support/cmocka.h"

#include "src/base/random.h"
#include "src/prompt/scope.h"

static const sc_turn  turns[] = {{{"user", 4}, {"hi", 2}}, {{"assistant", 9}, {"hello", 5}}};
static const sc_param params[] = {{{"max_tokens", 10}, {"5", 1}}, {{"seed", 4}, {"7", 1}}};

static sc_scope_fields some_fields(void)
{
    return (sc_scope_fields){
        .tenant = SC_STR("acme"),
        .model = SC_STR("gpt"),
        .corpus_version = SC_STR("v1"),
        .system_prompt = SC_STR("You help."),
        .temperature = 0.2,
        .turns = turns,
        .turns_count = 2,
        .params = params,
        .params_count = 2,
    };
}

static void assert_same_scope(sc_scope_fields a, sc_scope_fields b)
{
    sc_digest one = sc_scope_digest(&a), two = sc_scope_digest(&b);
    assert_true(sc_digest_equal(&one, &two));
}

static void assert_other_scope(sc_scope_fields a, sc_scope_fields b)
{
    sc_digest one = sc_scope_digest(&a), two = sc_scope_digest(&b);
    assert_false(sc_digest_equal(&one, &two));
}

/* A tenant, or a question with another system prompt, would get somebody else's answer. */
static void each_field_alone_changes_the_scope(void **state)
{
    (void)state;
    static const sc_turn  other_role[] = {{{"system", 6}, {"hi", 2}},
                                          {{"assistant", 9}, {"hello", 5}}};
    static const sc_turn  other_words[] = {{{"user", 4}, {"hi", 2}},
                                           {{"assistant", 9}, {"hellO", 5}}};
    static const sc_turn  other_order[] = {{{"assistant", 9}, {"hello", 5}},
                                           {{"user", 4}, {"hi", 2}}};
    static const sc_param other_value[] = {{{"max_tokens", 10}, {"5", 1}}, {{"seed", 4}, {"8", 1}}};
    static const sc_param other_name[] = {{{"max_tokens", 10}, {"5", 1}}, {{"top_p", 5}, {"7", 1}}};
    sc_scope_fields       fields = some_fields(), other;
    assert_same_scope(fields, some_fields());
#define CHANGED(member, value)                                                                     \
    other = fields;                                                                                \
    other.member = value;                                                                          \
    assert_other_scope(fields, other)
    CHANGED(tenant, SC_STR("acmf"));
    CHANGED(tenant, SC_STR(""));
    CHANGED(model, SC_STR("gpt-2"));
    CHANGED(corpus_version, SC_STR("v2"));
    CHANGED(system_prompt, SC_STR("You help!"));
    CHANGED(temperature, 0.3);
    CHANGED(temperature, -0.2);
    CHANGED(turns_count, 1);
    CHANGED(turns, other_role);
    CHANGED(turns, other_words);
    CHANGED(turns, other_order);
    CHANGED(params_count, 1);
    CHANGED(params, other_value);
    CHANGED(params, other_name);
#undef CHANGED
}

static void both_zeros_are_the_same_temperature(void **state)
{
    (void)state;
    sc_scope_fields zero = some_fields(), minus_zero = some_fields();
    zero.temperature = 0.0;
    minus_zero.temperature = -0.0;
    assert_same_scope(zero, minus_zero);
}

/* Moving a border between two fields, or a field's bytes into another's, must be another scope. */
static void no_content_imitates_a_border(void **state)
{
    (void)state;
    sc_scope_fields a = some_fields(), b = some_fields();
    a.tenant = SC_STR("a"), a.model = SC_STR("b|c");
    b.tenant = SC_STR("a|b"), b.model = SC_STR("c");
    assert_other_scope(a, b);
    a.tenant = SC_STR("ab"), a.model = SC_STR("");
    b.tenant = SC_STR(""), b.model = SC_STR("ab");
    assert_other_scope(a, b);

    /* A turn that spells out the next turn's length and role. */
    static const sc_turn forged[] = {
        {{"user", 4}, {"hi\x09\0\0\0\0\0\0\0assistant\x05\0\0\0\0\0\0\0hello", 32}}};
    b = a = some_fields();
    b.turns = forged;
    b.turns_count = 1;
    assert_other_scope(a, b);

    /* The same names and texts as a turn and as a parameter. */
    static const sc_turn  as_turn[] = {{{"seed", 4}, {"7", 1}}};
    static const sc_param as_param[] = {{{"seed", 4}, {"7", 1}}};
    a.turns = as_turn, a.turns_count = 1, a.params_count = 0;
    b = a;
    b.turns_count = 0, b.params = as_param, b.params_count = 1;
    assert_other_scope(a, b);
}

typedef struct {
    char   bytes[4][4];
    sc_str fields[4];
} quartet;

static void random_quartet(quartet *q)
{
    for (int i = 0; i < 4; i++) {
        size_t len = (size_t)sc_random_between(0, 3);
        for (size_t j = 0; j < len; j++)
            q->bytes[i][j] = "a|\0"[sc_random_between(0, 2)];
        q->fields[i] = (sc_str){q->bytes[i], len};
    }
}

static sc_digest digest_of(const quartet *q)
{
    sc_scope_fields fields = some_fields();
    fields.tenant = q->fields[0];
    fields.model = q->fields[1];
    fields.corpus_version = q->fields[2];
    fields.system_prompt = q->fields[3];
    return sc_scope_digest(&fields);
}

/* Over an alphabet so small that unprefixed fields would collide all the time. */
static void scopes_are_equal_exactly_when_all_fields_are(void **state)
{
    (void)state;
    for (int i = 0; i < 50000; i++) {
        quartet a, b;
        random_quartet(&a);
        random_quartet(&b);
        if (i % 3 == 0)
            b = a;
        bool same = true;
        for (int f = 0; f < 4; f++) {
            b.fields[f].ptr = b.bytes[f];
            same = same && sc_str_equal(a.fields[f], b.fields[f]);
        }
        sc_digest one = digest_of(&a), two = digest_of(&b);
        assert_int_equal(sc_digest_equal(&one, &two), same);
    }
}

/* Two orders would share a key in Redis; the entry of one would replace the other's. */
static void a_key_changes_with_scope_text_and_guard(void **state)
{
    (void)state;
    sc_scope_fields fields = some_fields();
    sc_digest       scope = sc_scope_digest(&fields);
    sc_digest       key = sc_exact_key(&scope, SC_STR("status of order"), 5);
    sc_digest       again = sc_exact_key(&scope, SC_STR("status of order"), 5);
    assert_true(sc_digest_equal(&key, &again));
    sc_digest guard = sc_exact_key(&scope, SC_STR("status of order"), 6);
    sc_digest text = sc_exact_key(&scope, SC_STR("status of orders"), 5);
    fields.tenant = SC_STR("other");
    scope = sc_scope_digest(&fields);
    sc_digest tenant = sc_exact_key(&scope, SC_STR("status of order"), 5);
    assert_false(sc_digest_equal(&key, &guard));
    assert_false(sc_digest_equal(&key, &text));
    assert_false(sc_digest_equal(&key, &tenant));
    assert_false(sc_digest_equal(&key, &scope));
}

/* Entries written by an older server would all be lost, or worse, be read as something else. */
static void the_layout_has_not_changed_by_accident(void **state)
{
    (void)state;
    char            hex[SC_DIGEST_HEX_BYTES + 1];
    sc_scope_fields fields = some_fields();
    sc_digest       scope = sc_scope_digest(&fields);
    sc_digest       key = sc_exact_key(&scope, SC_STR("what is our refund policy"), 0);
    sc_hex_encode(scope.bytes, sizeof scope.bytes, hex);
    assert_string_equal(hex, "0c0a69409bdd50846b679446965b0b7c0cfafaf93205f054291f8879fc71270d");
    sc_hex_encode(key.bytes, sizeof key.bytes, hex);
    assert_string_equal(hex, "32b69202d4e049130afacf9d22579dec03f4e9e0a3851a848ea0d07147ac1706");
}

/* `printf %s PROMPT | sha256sum` finds a system prompt's entries. */
static void the_system_hash_is_the_plain_one(void **state)
{
    (void)state;
    sc_digest hash = sc_system_hash(SC_STR("You help.")), plain = sc_sha256("You help.", 9);
    assert_true(sc_digest_equal(&hash, &plain));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_alone_changes_the_scope),
        cmocka_unit_test(both_zeros_are_the_same_temperature),
        cmocka_unit_test(no_content_imitates_a_border),
        cmocka_unit_test(scopes_are_equal_exactly_when_all_fields_are),
        cmocka_unit_test(a_key_changes_with_scope_text_and_guard),
        cmocka_unit_test(the_layout_has_not_changed_by_accident),
        cmocka_unit_test(the_system_hash_is_the_plain_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
