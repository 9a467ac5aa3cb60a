#include "src/http/endpoint.h"

#include "tests/support/cmocka.h"

static const sc_endpoint_options openai = {.base_url = "https://api.openai.com", .api_key = "sk-shared"};

static sc_status open_it(const sc_endpoint_options *own, const sc_endpoint_options *shared,
                         sc_endpoint *out)
{
    sc_error  error = {0};
    sc_status status = sc_endpoint_open(own, shared, "/embeddings", out, &error);
    assert_true(status == SC_OK || error.text[0] != '\0');
    assert_null(strstr(error.text, "sk-"));
    return status;
}

static void base_urls_may_end_in_a_version(void **state)
{
    static const char *const cases[][2] = {
        {"https://api.openai.com", "https://api.openai.com/v1/embeddings"},
        {"https://api.openai.com/", "https://api.openai.com/v1/embeddings"},
        {"https://api.openai.com/v1", "https://api.openai.com/v1/embeddings"},
        {"https://api.openai.com/v1//", "https://api.openai.com/v1/embeddings"},
        {"http://host:8000/proxy/v2", "http://host:8000/proxy/v2/embeddings"},
        {"http://host/v", "http://host/v/v1/embeddings"},
        {"http://host1", "http://host1/v1/embeddings"},
        {"http://host/dev1", "http://host/dev1/v1/embeddings"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const sc_endpoint_options options = {.base_url = cases[i][0]};
        sc_endpoint               endpoint;
        assert_int_equal(open_it(NULL, &options, &endpoint), SC_OK);
        assert_string_equal(endpoint.url, cases[i][1]);
        sc_endpoint_close(&endpoint);
    }
}

/* A password in a URL would be logged; a blank would end the request line. */
static void urls_that_hide_something_are_refused(void **state)
{
    static const char *const bad[] = {
        "", "api.openai.com", "ftp://host", "file:///etc/passwd", "http://me:sk-1@host", "http://host/?key=sk-1",
        "http://host/#x", "http://host /v1", "http://host\r\nX: 1",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const sc_endpoint_options options = {.base_url = bad[i], .api_key = "sk-2"};
        sc_endpoint               endpoint;
        assert_int_equal(open_it(NULL, &options, &endpoint), SC_INVALID);
        assert_null(endpoint.url);
    }
}

static void assert_key(const sc_endpoint_options *own, const sc_endpoint_options *shared,
                       const char *url, bool has_key)
{
    sc_endpoint endpoint, plain;
    const sc_endpoint_options without = {.base_url = url};
    assert_int_equal(open_it(own, shared, &endpoint), SC_OK);
    assert_int_equal(open_it(NULL, &without, &plain), SC_OK);
    assert_string_equal(endpoint.url, plain.url);
    assert_int_equal(sc_http_headers_count(endpoint.headers) - sc_http_headers_count(plain.headers),
                     has_key ? 1 : 0);
    sc_endpoint_close(&endpoint);
    sc_endpoint_close(&plain);
}

/* The key of one company would be sent to another. */
static void a_key_goes_only_to_the_url_it_came_with(void **state)
{
    const sc_endpoint_options none = {0};
    const sc_endpoint_options own_key = {.api_key = "sk-own"};
    const sc_endpoint_options own_url = {.base_url = "http://localhost:1"};
    const sc_endpoint_options both = {.base_url = "http://localhost:1", .api_key = "sk-own"};
    (void)state;
    assert_key(&none, &openai, "https://api.openai.com", true);
    assert_key(&own_key, &openai, "https://api.openai.com", true);
    assert_key(&own_url, &openai, "http://localhost:1", false);
    assert_key(&both, &openai, "http://localhost:1", true);
}

/* A line break in a key would add a header of somebody's choice. */
static void a_key_is_one_word(void **state)
{
    static char               long_key[5000];
    const sc_endpoint_options bad[] = {
        {.base_url = "http://localhost", .api_key = "sk-1\r\nX-Evil: sk-2"},
        {.base_url = "http://localhost", .api_key = long_key},
    };
    (void)state;
    memset(long_key, 'x', sizeof long_key - 1);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_endpoint endpoint;
        assert_int_equal(open_it(NULL, &bad[i], &endpoint), SC_INVALID);
        assert_null(endpoint.headers);
    }
}

static void judge(int code, const char *body, sc_status want, const char *text)
{
    sc_http_request request = {.status = SC_OK, .code = code};
    sc_error        error = {0};
    sc_buf_init(&request.reply, 10000);
    sc_buf_str(&request.reply, sc_str_of(body));
    assert_int_equal(sc_endpoint_judge(&request, "chat", &error), want);
    assert_true(text == NULL || strstr(error.text, text) != NULL);
    assert_null(strstr(error.text, "secret"));
    sc_buf_fini(&request.reply);
}

/* An upstream's sentence may quote the prompt or the key; its code may not. */
static void codes_are_told_without_the_upstreams_sentences(void **state)
{
    (void)state;
    judge(200, "", SC_OK, NULL);
    judge(400, "{\"error\":{\"message\":\"secret\",\"code\":\"context_length_exceeded\"}}", SC_INVALID,
          "HTTP 400, context_length_exceeded");
    judge(429, "{\"error\":{\"message\":\"secret\",\"code\":null,\"type\":\"rate_limit\"}}",
          SC_UNAVAILABLE, "HTTP 429, rate_limit");
    judge(401, "{\"error\":{\"code\":\"my secret prompt\"}}", SC_UNAVAILABLE, "key (HTTP 401)");
    judge(503, "<html>secret</html>", SC_UNAVAILABLE, "HTTP 503)");
    judge(302, "", SC_UNAVAILABLE, "HTTP 302)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base_urls_may_end_in_a_version),
        cmocka_unit_test(urls_that_hide_something_are_refused),
        cmocka_unit_test(a_key_goes_only_to_the_url_it_came_with),
        cmocka_unit_test(a_key_is_one_word),
        cmocka_unit_test(codes_are_told_without_the_upstreams_sentences),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
