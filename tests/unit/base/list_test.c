#include "tests/support/cmocka.h"

#include "src/base/list.h"

typedef struct {
    int     number;
    sc_link link;
} item;

static void assert_numbers(const sc_link *head, const char *expected)
{
    char   seen[16] = "";
    size_t used = 0;
    SC_LIST_EACH (link, (sc_link *)(uintptr_t)head)
        seen[used++] = (char)('0' + SC_CONTAINER(link, item, link)->number);
    seen[used] = '\0';
    assert_string_equal(seen, expected);
}

static void items_keep_their_order(void **state)
{
    (void)state;
    sc_link head;
    item    items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    sc_list_init(&head);
    assert_true(sc_list_empty(&head));
    assert_null(sc_list_pop_front(&head));
    sc_list_push_back(&head, &items[1].link);
    sc_list_push_back(&head, &items[3].link);
    sc_list_push_front(&head, &items[0].link);
    sc_list_insert_before(&items[3].link, &items[2].link);
    assert_numbers(&head, "0123");
    assert_ptr_equal(sc_list_pop_front(&head), &items[0].link);
    assert_numbers(&head, "123");
}

/* A request that is cancelled twice would corrupt its queue. */
static void removing_twice_is_harmless(void **state)
{
    (void)state;
    sc_link head;
    item    one = {.number = 1}, two = {.number = 2};
    sc_list_init(&head);
    sc_list_push_back(&head, &one.link);
    sc_list_push_back(&head, &two.link);
    assert_true(sc_list_linked(&one.link));
    sc_list_remove(&one.link);
    assert_false(sc_list_linked(&one.link));
    sc_list_remove(&one.link);
    assert_numbers(&head, "2");
    sc_list_push_back(&head, &one.link);
    assert_numbers(&head, "21");
}

static void items_may_leave_while_one_walks(void **state)
{
    (void)state;
    sc_link head;
    item    items[5] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}, {.number = 4}};
    sc_list_init(&head);
    for (int i = 0; i < 5; i++)
        sc_list_push_back(&head, &items[i].link);
    SC_LIST_EACH_SAFE (link, after, &head)
        if (SC_CONTAINER(link, item, link)->number % 2 == 0)
            sc_list_remove(link);
    assert_numbers(&head, "13");
}

static void a_spliced_list_leaves_nothing_behind(void **state)
{
    (void)state;
    sc_link to, from;
    item    items[4] = {{.number = 0}, {.number = 1}, {.number = 2}, {.number = 3}};
    sc_list_init(&to);
    sc_list_init(&from);
    sc_list_splice_back(&to, &from);
    assert_true(sc_list_empty(&to));
    for (int i = 0; i < 4; i++)
        sc_list_push_back(i < 2 ? &to : &from, &items[i].link);
    sc_list_splice_back(&to, &from);
    assert_numbers(&to, "0123");
    assert_true(sc_list_empty(&from));
    sc_list_remove(&items[3].link);
    assert_numbers(&to, "012");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(items_keep_their_order),
        cmocka_unit_test(removing_twice_is_harmless),
        cmocka_unit_test(items_may_leave_while_one_walks),
        cmocka_unit_test(a_spliced_list_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
