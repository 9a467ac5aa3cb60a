#include "src/pipeline/decide.h"

#include <math.h>

#include "tests/support/cmocka.h"

static sc_entry entry_a, entry_b;

static void a_hit_is_nearer_than_the_bound_not_as_near(void **state)
{
    (void)state;
    assert_true(sc_is_hit(0.05F, 0.1));
    assert_false(sc_is_hit(0.5F, 0.5));
    assert_true(sc_is_hit(0.5F, 0.5000001));
    assert_false(sc_is_hit(0, 0)); /* a bound of 0 wants no likeness at all */
    assert_false(sc_is_hit(NAN, 2));
}

static void only_scope_and_guard_together_let_an_entry_pass(void **state)
{
    (void)state;
    sc_digest scope = {{1}}, other = {{2}};
    sc_entry  entry = {.f = {.scope = scope, .guard = 7}};
    assert_true(sc_may_serve(&entry, &scope, 7));
    assert_false(sc_may_serve(&entry, &other, 7));
    assert_false(sc_may_serve(&entry, &scope, 8));
    assert_false(sc_may_serve(&entry, &scope, 0));
    /* Each byte of the scope counts. */
    for (size_t i = 0; i < SC_DIGEST_BYTES; i++) {
        sc_digest near = scope;
        near.bytes[i] ^= 0x80;
        assert_false(sc_may_serve(&entry, &near, 7));
    }
}

static void the_reason_of_a_miss_names_what_stood_in_the_way(void **state)
{
    (void)state;
    static const sc_candidate none;
    sc_candidate              near = {&entry_a, 0.05F}, far = {&entry_a, 0.5F};
    sc_candidate              refused = {&entry_b, 0.01F}, refused_far = {&entry_b, 0.4F};
    assert_int_equal(sc_miss_reason(&none, &none, 0, 0.1), SC_REASON_NO_CANDIDATE);
    assert_int_equal(sc_miss_reason(&far, &none, 0, 0.1), SC_REASON_TOO_FAR);
    assert_int_equal(sc_miss_reason(&near, &none, 0, 0.1), SC_REASON_STALE);
    assert_int_equal(sc_miss_reason(&none, &refused, 1, 0.1), SC_REASON_VOLATILE_DIFFERS);
    assert_int_equal(sc_miss_reason(&far, &refused, 1, 0.1), SC_REASON_VOLATILE_DIFFERS);
    assert_int_equal(sc_miss_reason(&near, &refused, 0, 0.1), SC_REASON_OPPOSED);
    assert_int_equal(sc_miss_reason(&none, &refused_far, 1, 0.1), SC_REASON_TOO_FAR);
}

static void memory_is_believed_while_the_feed_is_alive(void **state)
{
    (void)state;
    sc_trust_state trust = {.feed_live = true};
    assert_int_equal(sc_trust_copy(&trust), SC_TRUST_SERVE);
    trust.verify_always = true;
    assert_int_equal(sc_trust_copy(&trust), SC_TRUST_VERIFY);
    trust = (sc_trust_state){.feed_live = false};
    assert_int_equal(sc_trust_copy(&trust), SC_TRUST_VERIFY);
}

static sc_instant at_ms(int64_t ms)
{
    return (sc_instant){ms * 1000000};
}

static void unverified_copies_are_served_until_a_stated_age(void **state)
{
    (void)state;
    sc_trust_state trust = {.feed_lost_ns = at_ms(1000).ns, .unverified_ms = 500};
    assert_true(sc_trust_unverified(&trust, 0, at_ms(1000)));
    assert_true(sc_trust_unverified(&trust, 0, at_ms(1499)));
    assert_false(sc_trust_unverified(&trust, 0, at_ms(1500)));
    assert_false(sc_trust_unverified(&trust, 0, at_ms(99999)));
    /* Confirmed, or written, after the loss: the age counts from then. */
    assert_true(sc_trust_unverified(&trust, at_ms(1200).ns, at_ms(1600)));
    assert_false(sc_trust_unverified(&trust, at_ms(1200).ns, at_ms(1700)));
    /* Confirmed long before: the feed vouched for it until it was lost. */
    assert_true(sc_trust_unverified(&trust, at_ms(1).ns, at_ms(1499)));
    trust.unverified_ms = 0;
    assert_false(sc_trust_unverified(&trust, 0, at_ms(1000)));
    trust.feed_live = true;
    assert_true(sc_trust_unverified(&trust, 0, at_ms(99999)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hit_is_nearer_than_the_bound_not_as_near),
        cmocka_unit_test(only_scope_and_guard_together_let_an_entry_pass),
        cmocka_unit_test(the_reason_of_a_miss_names_what_stood_in_the_way),
        cmocka_unit_test(memory_is_believed_while_the_feed_is_alive),
        cmocka_unit_test(unverified_copies_are_served_until_a_stated_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
