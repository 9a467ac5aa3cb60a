/* What an invalidation matches. An error here removes too little (a stale answer goes on being
 * served) or too much (another tenant's entries). */
#include <math.h>

#include "src/store/store.h"
#include "tests/support/cmocka.h"

enum { DIM = 4 };

static const sc_str tags[] = {{"red", 3}, {"round", 5}};

static sc_entry_fields entry(void)
{
    return (sc_entry_fields){.id = sc_sha256("id", 2),
                             .tenant = SC_STR("acme"),
                             .model = SC_STR("m1"),
                             .corpus_version = SC_STR("7"),
                             .system_hash = sc_sha256("sys", 3),
                             .created = {1000},
                             .tags = tags,
                             .tags_count = 2};
}

static bool matches(sc_store_filter filter)
{
    sc_entry_fields fields = entry();
    float           distance;
    return sc_store_filter_matches(&filter, &fields, NULL, DIM, &distance);
}

static void an_empty_filter_matches_its_tenant_only(void **state)
{
    (void)state;
    assert_true(matches((sc_store_filter){.tenant = SC_STR("acme")}));
    assert_false(matches((sc_store_filter){.tenant = SC_STR("acm")}));
    assert_false(matches((sc_store_filter){.tenant = SC_STR("")}));
    assert_false(matches((sc_store_filter){0}));
    assert_true(matches((sc_store_filter){.any_tenant = true}));
    assert_true(matches((sc_store_filter){.tenant = SC_STR("other"), .any_tenant = true}));
}

static void each_criterion_can_refuse(void **state)
{
    sc_digest sys = sc_sha256("sys", 3), other = sc_sha256("other", 5);
    (void)state;

    assert_true(matches((sc_store_filter){.any_tenant = true, .model = SC_STR("m1")}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .model = SC_STR("m2")}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .model = SC_STR("")}));
    assert_true(matches((sc_store_filter){.any_tenant = true, .corpus_version = SC_STR("7")}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .corpus_version = SC_STR("70")}));
    assert_true(matches((sc_store_filter){.any_tenant = true, .system_hash = &sys}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .system_hash = &other}));
    assert_true(matches((sc_store_filter){.any_tenant = true, .created_before = {1001}}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .created_before = {1000}}));
}

static void all_criteria_must_hold_at_once(void **state)
{
    (void)state;
    sc_store_filter filter = {
        .tenant = SC_STR("acme"), .model = SC_STR("m1"), .corpus_version = SC_STR("7")};
    assert_true(matches(filter));
    filter.corpus_version = SC_STR("8");
    assert_false(matches(filter));
}

static void every_tag_must_be_there(void **state)
{
    const sc_str both[] = {{"round", 5}, {"red", 3}},
                 three[] = {{"red", 3}, {"round", 5}, {"blue", 4}};
    const sc_str part = {"re", 2};
    (void)state;

    assert_true(matches((sc_store_filter){.any_tenant = true, .tags = both, .tags_count = 1}));
    assert_true(matches((sc_store_filter){.any_tenant = true, .tags = both, .tags_count = 2}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .tags = three, .tags_count = 3}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .tags = &part, .tags_count = 1}));
}

static void one_of_the_ids_is_enough(void **state)
{
    const sc_digest ids[] = {sc_sha256("x", 1), sc_sha256("id", 2)};
    (void)state;

    assert_true(matches((sc_store_filter){.any_tenant = true, .ids = ids, .ids_count = 2}));
    assert_false(matches((sc_store_filter){.any_tenant = true, .ids = ids, .ids_count = 1}));
}

static void nearness_is_measured_and_needs_a_vector(void **state)
{
    const float     a[DIM] = {1, 0, 0, 0}, b[DIM] = {0.8f, 0.6f, 0, 0};
    sc_entry_fields fields = entry();
    sc_store_filter filter = {.any_tenant = true, .near = a, .near_distance_max = 0.21f};
    float           distance;
    (void)state;

    assert_true(sc_store_filter_matches(&filter, &fields, b, DIM, &distance));
    assert_true(fabsf(distance - 0.2f) < 1e-6f);
    filter.near_distance_max = 0.19f;
    assert_false(sc_store_filter_matches(&filter, &fields, b, DIM, &distance));
    filter.near_distance_max = 2;
    assert_false(sc_store_filter_matches(&filter, &fields, NULL, DIM, &distance));
    filter.near = NULL;
    assert_true(sc_store_filter_matches(&filter, &fields, b, DIM, &distance));
    assert_true(isnan(distance));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_filter_matches_its_tenant_only),
        cmocka_unit_test(each_criterion_can_refuse),
        cmocka_unit_test(all_criteria_must_hold_at_once),
        cmocka_unit_test(every_tag_must_be_there),
        cmocka_unit_test(one_of_the_ids_is_enough),
        cmocka_unit_test(nearness_is_measured_and_needs_a_vector),
    };
    return cmocka_run_group_tests_name("store_filter", tests, NULL, NULL);
}
