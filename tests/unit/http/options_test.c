/* The tables of everything that asks upstreams, through the machinery that reads them. */
#include "src/http/options.h"

#include "src/config/config.h"
#include "src/embed/options.h"
#include "src/llm/options.h"
#include "tests/support/cmocka.h"

typedef struct {
    sc_http_setup    http;
    sc_embed_options embed;
    sc_llm_options   llm;
    sc_config       *config;
} all;

static sc_status read(all *a, char *const *environment, sc_error *error)
{
    const sc_config_part    parts[] = {{&sc_http_settings, &a->http},
                                       {&sc_embed_settings, &a->embed},
                                       {&sc_llm_settings, &a->llm}};
    const sc_config_sources sources = {.environment = environment};
    return sc_config_open(&sources, parts, 3, &a->config, error);
}

static void the_defaults_fit_their_bounds(void **state)
{
    all      a = {0};
    sc_error error = {0};
    (void)state;
    if (read(&a, NULL, &error) != SC_OK)
        fail_msg("%s", error.text);
    assert_string_equal(a.http.openai.base_url, "https://api.openai.com");
    assert_null(a.http.openai.api_key);
    assert_null(a.http.loop.proxy);
    assert_int_equal(a.embed.provider, SC_EMBED_AUTO);
    assert_string_equal(a.embed.model, "text-embedding-3-small");
    assert_int_equal(a.embed.dim, 0);
    assert_int_equal(a.embed.gather.linger_us, 0);
    assert_int_equal(a.embed.reply_bytes_max, 64 << 20);
    assert_string_equal(a.llm.model, "gpt-4o-mini");
    assert_false(a.llm.stream);
    assert_int_equal(a.llm.retries, 0);
    sc_config_close(a.config);
}

static void the_tutorials_names_are_kept(void **state)
{
    static char  url[] = "OPENAI_BASE_URL=http://127.0.0.1:9", key[] = "OPENAI_API_KEY=sk-1";
    static char  chat[] = "CHAT_MODEL=m", embedding[] = "EMBEDDING_MODEL=e";
    static char  provider[] = "EMBEDDING_PROVIDER=local";
    char *const  environment[] = {url, key, chat, embedding, provider, NULL};
    all          a = {0};
    sc_error     error = {0};
    (void)state;
    if (read(&a, environment, &error) != SC_OK)
        fail_msg("%s", error.text);
    assert_string_equal(a.http.openai.base_url, "http://127.0.0.1:9");
    assert_string_equal(a.http.openai.api_key, "sk-1");
    assert_string_equal(a.llm.model, "m");
    assert_string_equal(a.embed.model, "e");
    assert_int_equal(a.embed.provider, SC_EMBED_LOCAL);
    sc_config_close(a.config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_fit_their_bounds),
        cmocka_unit_test(the_tutorials_names_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
