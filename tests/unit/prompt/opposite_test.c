#include <stdio.h>

#include "tests/support/cmocka.h"

#include "src/prompt/canonical.h"
#include "src/prompt/lexicon.h"

enum { ARENA_BYTES = 1 << 20 };

static sc_canon *open_canon(void)
{
    const sc_canon_options options = {
        .match = {[SC_VOLATILE_UUID] = true, [SC_VOLATILE_NUMBER] = true},
        .match_figures = true,
        .match_denial = true,
        .match_direction = true,
    };
    sc_canon *canon;
    assert_int_equal(sc_canon_open(&options, &canon, NULL), SC_OK);
    return canon;
}

typedef struct {
    const char *a, *b;
} pair;

/* By the guard or by the words, whichever way round. */
static bool kept_apart(const sc_canon *canon, pair p)
{
    sc_arena     arena;
    sc_canonical a, b;
    sc_arena_init(&arena, ARENA_BYTES);
    assert_int_equal(sc_canon_apply(canon, sc_str_of(p.a), &arena, &a, NULL), SC_OK);
    assert_int_equal(sc_canon_apply(canon, sc_str_of(p.b), &arena, &b, NULL), SC_OK);
    bool opposed = sc_canon_opposed(canon, a.text, b.text);
    assert_int_equal(sc_canon_opposed(canon, b.text, a.text), opposed);
    bool apart = a.guard != b.guard || opposed;
    sc_arena_fini(&arena);
    return apart;
}

static void check(const pair *pairs, size_t count, bool apart)
{
    size_t    wrong = 0;
    sc_canon *canon = open_canon();
    for (size_t i = 0; i < count; i++) {
        if (kept_apart(canon, pairs[i]) == apart)
            continue;
        wrong++;
        print_error("%s: \"%s\" and \"%s\"\n", apart ? "not kept apart" : "kept apart", pairs[i].a,
                    pairs[i].b);
    }
    sc_canon_close(canon);
    assert_int_equal(wrong, 0);
}

static void different_questions_are_kept_apart(void **state)
{
    static const pair pairs[] = {
        /* denial */
        {"Are refunds allowed?", "Are refunds not allowed?"},
        {"Is this food safe for dogs?", "Isn't this food safe for dogs?"},
        {"Is this food safe for dogs?", "Isn\xe2\x80\x99t this food safe for dogs?"},
        {"Which plans include support?", "Which plans don't include support?"},
        {"Which plans include support?", "Which plans dont include support?"},
        {"Can I take ibuprofen with alcohol?", "Can I take ibuprofen without alcohol?"},
        {"List users who have logged in", "List users who have never logged in"},
        {"Darf ich hier parken?", "Darf ich hier nicht parken?"},
        /* figures */
        {"side effects of 5 mg of prednisone", "side effects of 50 mg of prednisone"},
        {"side effects of 5mg of prednisone", "side effects of prednisone"},
        {"Can I return it within 30 days?", "Can I return it within 60 days?"},
        {"What is new in Python 3.11?", "What is new in Python 3.12?"},
        {"What is 2+2?", "What is 2+3?"},
        {"What is 2+2?", "What is 2-2?"},
        {"What is 2 + 2?", "What is 2 * 2?"},
        {"How do I dress for 5 degrees?", "How do I dress for -5 degrees?"},
        {"Compare model 3 with model 4", "Compare model 4 with model 3"},
        {"Who won in 2018?", "Who won in 2022?"},
        {"\xd9\xa1\xd9\xa2 apples", "\xd9\xa1\xd9\xa3 apples"},
        /* opposites */
        {"How do I enable two-factor login?", "How do I disable two-factor login?"},
        {"How do I turn on notifications?", "How do I turn off notifications?"},
        {"How do I turn notifications on?", "How do I turn notifications off?"},
        {"How do I increase my credit limit?", "How do I decrease my credit limit?"},
        {"What is the maximum upload size?", "What is the minimum upload size?"},
        {"What should I do before surgery?", "What should I do after surgery?"},
        {"How do I add a user to the group?", "How do I remove a user from the group?"},
        {"Show the cheapest flights", "Show the most expensive flights"},
        {"Is the store open on Monday?", "Is the store open on Sunday?"},
        {"Is the store open on Monday?", "Is the store closed on Monday?"},
        {"Within two weeks", "Within three weeks"},
        {"Within 2 weeks", "Within 2 days"},
        {"Should I accept the offer?", "Should I reject the offer?"},
        /* prefixes */
        {"How do I lock my account?", "How do I unlock my account?"},
        {"Can I return an opened item?", "Can I return an unopened item?"},
        {"What are legal ways to do it?", "What are illegal ways to do it?"},
        {"How do I connect the device?", "How do I disconnect the device?"},
        /* order */
        {"flights from Paris to London", "flights from London to Paris"},
        {"Show me flights from Paris to London", "List flights from London to Paris"},
        {"Does Alice owe Bob money?", "Does Bob owe Alice money?"},
        {"Convert euros to dollars", "How do I convert dollars to euros?"},
        {"Is a dog bigger than a cat?", "Is a cat bigger than a dog?"},
    };
    (void)state;
    check(pairs, sizeof pairs / sizeof *pairs, true);
}

/* The price of a false alarm is one call of the LLM, but it is a price. */
static void paraphrases_are_not(void **state)
{
    static const pair pairs[] = {
        {"What is our refund policy?", "Tell me about the refund policy"},
        {"What is our refund policy?", "How do refunds work here?"},
        {"How long is the return window?", "What is the length of the return window?"},
        {"Do you ship internationally?", "Do you deliver to other countries?"},
        {"How do I reset my password?", "I forgot my password, what now?"},
        {"What are your business hours?", "When are you open?"},
        {"How do I disable notifications?", "How do I turn off notifications?"},
        {"How do I enable notifications?", "How can I activate notifications?"},
        {"Is shipping abroad possible?", "Is it possible to ship abroad?"},
        {"Can I get my money back?", "Could I please get back my money?"},
        {"What is the maximum upload size?", "What's the largest file I can upload?"},
        {"Can I return it within 30 days?", "May I return it within 30 days?"},
        {"Does it not work on Linux?", "Doesn't it work on Linux?"},
        {"Which plan is the cheapest?", "What is the cheapest plan?"},
        {"How do I sign up?", "How can I register?"},
        {"What documents do I need before I apply?", "Which documents are needed before applying?"},
        {"Is coffee good or bad for me?", "Is coffee bad or is it good?"},
        {"Who is the author of Dune?", "Who wrote Dune?"},
    };
    (void)state;
    check(pairs, sizeof pairs / sizeof *pairs, false);
}

static void every_word_is_found(void **state)
{
    (void)state;
    sc_lexicon *lexicon;
    size_t      words = 0;
    assert_int_equal(sc_lexicon_open(&lexicon), SC_OK);
    assert_true(sc_lexicon_classes_count <= SC_LEXICON_CLASSES_MAX);
    for (size_t cls = 0; cls < sc_lexicon_classes_count; cls++)
        for (unsigned v = 0; v < SC_LEXICON_VALUES_MAX; v++) {
            const char *at = sc_lexicon_classes[cls].values[v];
            for (; at != NULL && *at != '\0'; at += strcspn(at, " "), at += *at == ' ') {
                sc_meaning meaning = sc_lexicon_find(lexicon, (sc_str){at, strcspn(at, " ")});
                assert_int_equal(meaning.cls, cls);
                assert_int_equal(meaning.values, 1 << v);
                words++;
            }
        }
    assert_true(words > 400);
    assert_int_equal(sc_lexicon_find(lexicon, SC_STR("refund")).values, 0);
    assert_int_equal(sc_lexicon_find(lexicon, SC_STR("")).values, 0);
    sc_lexicon_close(lexicon);
}

static void switched_off_nothing_is_kept_apart(void **state)
{
    (void)state;
    sc_canon *canon;
    assert_int_equal(sc_canon_open(&(sc_canon_options){0}, &canon, NULL), SC_OK);
    assert_false(kept_apart(canon, (pair){"Are refunds allowed?", "Are refunds not allowed?"}));
    assert_false(kept_apart(canon, (pair){"take 5 mg", "take 50 mg"}));
    assert_false(kept_apart(canon, (pair){"enable it", "disable it"}));
    assert_false(kept_apart(canon, (pair){"Paris to London", "London to Paris"}));
    sc_canon_close(canon);
}

/* Only the beginnings of very long texts are compared; nothing is read beyond their ends. */
static void long_texts(void **state)
{
    (void)state;
    static char a[64 * 1024], b[64 * 1024];
    sc_canon   *canon = open_canon();
    for (size_t i = 0; i + 8 < sizeof a; i += 8) {
        snprintf(a + i, 9, "w%06zu ", i / 8);
        snprintf(b + i, 9, "w%06zu ", (sizeof b - i) / 8);
    }
    assert_false(sc_canon_opposed(canon, sc_str_of(a), sc_str_of(b)));
    memcpy(b, a, sizeof b);
    memcpy(a, "enable  ", 8);
    memcpy(b, "disable ", 8);
    assert_true(sc_canon_opposed(canon, sc_str_of(a), sc_str_of(b)));
    sc_canon_close(canon);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(different_questions_are_kept_apart),
        cmocka_unit_test(paraphrases_are_not),
        cmocka_unit_test(every_word_is_found),
        cmocka_unit_test(switched_off_nothing_is_kept_apart),
        cmocka_unit_test(long_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
