#include "src/llm/chat_json.h"

#include <math.h>
#include <stdio.h>

#include "src/text/json.h"
#include "src/text/utf8.h"
#include "tests/support/cmocka.h"

static sc_llm_call plain_call(void)
{
    return (sc_llm_call){.model = SC_STR("gpt-4o-mini"),
                         .user_prompt = SC_STR("What is \"it\"?\n"),
                         .temperature = 0.1};
}

static sc_status write(const sc_llm_call *call, bool stream, sc_buf *body)
{
    sc_error error = {0};
    sc_buf_init(body, 1 << 16);
    sc_status status = sc_chat_check(call, &error);
    if (status == SC_OK)
        status = sc_chat_write(call, stream, body, &error);
    assert_true(status == SC_OK || error.text[0] != '\0');
    return status;
}

static void a_call_becomes_a_body(void **state)
{
    sc_llm_call    call = plain_call();
    const sc_turn  turns[] = {{SC_STR("user"), SC_STR("hi")}, {SC_STR("assistant"), SC_STR("ho")}};
    const sc_param params[] = {{SC_STR("max_tokens"), SC_STR("7")},
                               {SC_STR("stop"), SC_STR("[\"a\", \"b\"]")}};
    sc_buf         body;
    (void)state;
    assert_int_equal(write(&call, false, &body), SC_OK);
    assert_string_equal(body.data, "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"user\","
                                   "\"content\":\"What is \\\"it\\\"?\\n\"}],\"temperature\":0.1}");
    sc_buf_fini(&body);
    call.system_prompt = SC_STR("Be brief.");
    call.turns = turns;
    call.turns_count = 2;
    call.params = params;
    call.params_count = 2;
    call.temperature = 1.0 / 3;
    assert_int_equal(write(&call, true, &body), SC_OK);
    assert_string_equal(
        body.data,
        "{\"model\":\"gpt-4o-mini\",\"messages\":[{\"role\":\"system\",\"content\":\"Be brief.\"},"
        "{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"assistant\",\"content\":\"ho\"},"
        "{\"role\":\"user\",\"content\":\"What is \\\"it\\\"?\\n\"}],"
        "\"temperature\":0.3333333333333333,\"max_tokens\":7,\"stop\":[\"a\", \"b\"],"
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}}");
    assert_true(sc_json_valid(sc_buf_view(&body)));
    sc_buf_fini(&body);
}

/* A parameter could rewrite the question that its answer is kept under. */
static void parameters_cannot_break_out(void **state)
{
    const sc_param bad[] = {
        {SC_STR("messages"), SC_STR("[]")},
        {SC_STR("model"), SC_STR("\"other\"")},
        {SC_STR("stream"), SC_STR("true")},
        {SC_STR("n"), SC_STR("3")},
        {SC_STR(""), SC_STR("1")},
        {SC_STR("x"), SC_STR("1,\"model\":\"other\"")},
        {SC_STR("x"), SC_STR("")},
        {SC_STR("x"), SC_STR("}")},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        sc_llm_call call = plain_call();
        sc_buf      body;
        call.params = &bad[i];
        call.params_count = 1;
        assert_int_equal(write(&call, false, &body), SC_INVALID);
        sc_buf_fini(&body);
    }
    sc_llm_call call = plain_call();
    sc_buf      body;
    call.temperature = NAN;
    assert_int_equal(write(&call, false, &body), SC_INVALID);
    sc_buf_fini(&body);
}

static sc_status read(const char *json, sc_chat_reply *reply)
{
    sc_error error = {0};
    sc_chat_reply_init(reply, 20);
    sc_status status = sc_chat_read(sc_str_of(json), reply, &error);
    assert_true(status == SC_OK || error.text[0] != '\0');
    return status;
}

static void a_reply_becomes_an_answer(void **state)
{
    sc_chat_reply reply;
    (void)state;
    assert_int_equal(
        read("{\"model\":\"m-1\",\"choices\":[{\"finish_reason\":\"length\",\"message\":"
             "{\"content\":\"caf\\u00e9\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}",
             &reply),
        SC_OK);
    assert_string_equal(reply.answer.data, "caf\xc3\xa9");
    assert_string_equal(reply.finish_reason, "length");
    assert_string_equal(reply.model, "m-1");
    assert_true(reply.has_usage && reply.prompt_tokens == 3 && reply.completion_tokens == 4);
    sc_chat_reply_fini(&reply);
    assert_int_equal(read("{\"choices\":[{\"message\":{\"content\":\"a\"}}],\"usage\":null}", &reply),
                     SC_OK);
    assert_false(reply.has_usage);
    assert_string_equal(reply.finish_reason, "");
    sc_chat_reply_fini(&reply);
}

/* A text cut in the middle of a character is none: no reply could carry it. */
static void long_names_are_cut_between_characters(void **state)
{
    sc_chat_reply reply;
    char          json[800], name[301];
    (void)state;
    for (size_t i = 0; i < sizeof name - 1; i += 2)
        memcpy(name + i, "\xc3\xa9", 2);
    name[sizeof name - 1] = '\0';
    snprintf(json, sizeof json, "{\"model\":\"m%s\",\"choices\":[{\"finish_reason\":\"%s\",\"message\":"
             "{\"content\":\"a\"}}]}", name, name);
    assert_int_equal(read(json, &reply), SC_OK);
    assert_true(sc_utf8_valid(sc_str_of(reply.model), NULL));
    assert_true(sc_utf8_valid(sc_str_of(reply.finish_reason), NULL));
    assert_in_range(strlen(reply.finish_reason), sizeof reply.finish_reason - 2,
                    sizeof reply.finish_reason - 1);
    sc_chat_reply_fini(&reply);
}

static void bad_replies_are_told_apart(void **state)
{
    static const struct {
        const char *json;
        sc_status   status;
    } cases[] = {
        {"", SC_CORRUPT},
        {"<html>", SC_CORRUPT},
        {"[]", SC_CORRUPT},
        {"{\"choices\":7}", SC_CORRUPT},
        {"{\"choices\":[7]}", SC_CORRUPT},
        {"{\"choices\":[]}", SC_UNAVAILABLE},
        {"{\"choices\":[{\"message\":{}}]}", SC_UNAVAILABLE},
        {"{\"choices\":[{\"message\":{\"content\":null}}]}", SC_UNAVAILABLE},
        {"{\"choices\":[{\"message\":{\"content\":\"\"}}]}", SC_UNAVAILABLE},
        {"{\"choices\":[{\"message\":{\"content\":[\"a\"]}}]}", SC_CORRUPT},
        {"{\"choices\":[{\"message\":{\"content\":\"\xe9\"}}]}", SC_CORRUPT},
        {"{\"choices\":[{\"message\":{\"content\":\"a\\u0000b\"}}]}", SC_CORRUPT},
        {"{\"choices\":[{\"message\":{\"content\":\"123456789012345678901\"}}]}", SC_TOO_LARGE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sc_chat_reply reply;
        sc_status     status = read(cases[i].json, &reply);
        if (status != cases[i].status)
            print_error("%s: %s\n", cases[i].json, sc_status_name(status));
        assert_int_equal(status, cases[i].status);
        sc_chat_reply_fini(&reply);
    }
}

static void deltas_are_joined(void **state)
{
    static const char *const events[] = {
        "{\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one \"},\"finish_reason\":null}]}",
        "{\"choices\":[{\"index\":1,\"delta\":{\"content\":\"other\"}}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"two\"}}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
        "[DONE]",
        "not looked at any more",
    };
    sc_chat_reply reply;
    sc_error      error = {0};
    (void)state;
    sc_chat_reply_init(&reply, 100);
    assert_int_equal(sc_chat_check_end(&reply, &error), SC_UNAVAILABLE);
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        assert_int_equal(sc_chat_read_event(sc_str_of(events[i]), &reply, &error), SC_OK);
    assert_int_equal(sc_chat_check_end(&reply, &error), SC_OK);
    assert_string_equal(reply.answer.data, "one two");
    assert_string_equal(reply.finish_reason, "stop");
    assert_int_equal(reply.completion_tokens, 2);
    assert_true(reply.ended);
    sc_chat_reply_fini(&reply);
}

static void bad_events_end_the_stream(void **state)
{
    static const struct {
        const char *json;
        sc_status   status;
    } cases[] = {
        {"{\"choices\": [", SC_CORRUPT},
        {"7", SC_CORRUPT},
        {"{\"choices\": 7}", SC_CORRUPT},
        {"{\"choices\":[{\"delta\":{\"content\":7}}]}", SC_CORRUPT},
        {"{\"error\":{\"message\":\"overloaded\"}}", SC_UNAVAILABLE},
        {"{\"choices\":[{\"delta\":{\"content\":\"12345678901\"}}]}", SC_TOO_LARGE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        sc_chat_reply reply;
        sc_error      error = {0};
        sc_chat_reply_init(&reply, 10);
        assert_int_equal(sc_chat_read_event(sc_str_of(cases[i].json), &reply, &error),
                         cases[i].status);
        sc_chat_reply_fini(&reply);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_becomes_a_body),
        cmocka_unit_test(parameters_cannot_break_out),
        cmocka_unit_test(a_reply_becomes_an_answer),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(bad_replies_are_told_apart),
        cmocka_unit_test(deltas_are_joined),
        cmocka_unit_test(bad_events_end_the_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
