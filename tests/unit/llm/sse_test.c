#include "src/llm/sse.h"

#include <stdio.h>

#include "tests/support/cmocka.h"

/* Events as one text: "name|data;" */
typedef struct {
    char      text[512];
    size_t    len;
    sc_status refuse_with;
} heard;

static sc_status on_event(void *user, sc_str name, sc_str data)
{
    heard *h = user;
    h->len += (size_t)snprintf(h->text + h->len, sizeof h->text - h->len, "%.*s|%.*s;",
                               (int)name.len, name.ptr, (int)data.len,
                               data.len == 0 ? "" : data.ptr);
    return h->refuse_with;
}

static sc_status feed(const char *bytes, size_t step, size_t bytes_max, heard *h)
{
    sc_sse    sse;
    sc_status status = SC_OK;
    size_t    len = strlen(bytes);
    *h = (heard){.refuse_with = h->refuse_with};
    sc_sse_init(&sse, bytes_max);
    for (size_t at = 0; status == SC_OK && at < len; at += step)
        status = sc_sse_feed(&sse, (sc_str){bytes + at, len - at < step ? len - at : step}, on_event,
                             h);
    sc_sse_fini(&sse);
    return status;
}

/* A network cuts where it likes; an answer must not depend on it. */
static void events_are_the_same_however_the_bytes_are_cut(void **state)
{
    static const char stream[] = "\xef\xbb\xbf"
                                 "data: one\n\n"
                                 ": a comment\n"
                                 "event: note\r\ndata: two\r\ndata:three\r\n\r\n"
                                 "data\rdata: \r\r"
                                 "id: 7\nretry: 10\n\n"
                                 "unknown: x\ndata: {\"a\": 1}\n\n"
                                 "data: unfinished\n";
    heard h = {0};
    (void)state;
    for (size_t step = 1; step < sizeof stream; step++) {
        assert_int_equal(feed(stream, step, 1000, &h), SC_OK);
        assert_string_equal(h.text, "|one;note|two\nthree;|\n;|{\"a\": 1};");
    }
}

/* A line without end would be kept until memory runs out. */
static void lines_and_events_are_bounded(void **state)
{
    heard h = {0};
    (void)state;
    for (size_t step = 1; step < 40; step += 6) {
        assert_int_equal(feed("data: 0123456789\n\n", step, 16, &h), SC_OK);
        assert_int_equal(feed("data: 01234567890\n\n", step, 16, &h), SC_TOO_LARGE);
        assert_int_equal(feed("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", step, 16, &h), SC_TOO_LARGE);
        assert_int_equal(feed("data: 01234567\ndata: 01234567\n\n", step, 16, &h), SC_TOO_LARGE);
    }
}

static void a_refused_event_ends_the_stream(void **state)
{
    heard h = {.refuse_with = SC_CORRUPT};
    (void)state;
    assert_int_equal(feed("data: a\n\ndata: b\n\n", 100, 100, &h), SC_CORRUPT);
    assert_string_equal(h.text, "|a;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_are_the_same_however_the_bytes_are_cut),
        cmocka_unit_test(lines_and_events_are_bounded),
        cmocka_unit_test(a_refused_event_ends_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
