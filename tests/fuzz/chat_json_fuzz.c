/* Replies, stream events and request parameters: what is taken is a bounded, whole text, and
 * what is written is JSON. */
#include <stdint.h>
#include <stdlib.h>

#include "src/llm/chat_json.h"
#include "src/text/json.h"
#include "src/text/utf8.h"

enum { ANSWER_BYTES_MAX = 64 };

static void check(sc_chat_reply *reply, sc_status status, const sc_error *error)
{
    if (reply->answer.len > ANSWER_BYTES_MAX ||
        !sc_utf8_valid(sc_buf_view(&reply->answer), NULL))
        abort();
    if (status != SC_OK && error->text[0] == '\0')
        abort();
    sc_chat_reply_fini(reply);
}

static void read_reply(sc_str json)
{
    sc_chat_reply reply;
    sc_error      error = {0};
    sc_chat_reply_init(&reply, ANSWER_BYTES_MAX);
    sc_status status = sc_chat_read(json, &reply, &error);
    if (status == SC_OK && reply.answer.len == 0)
        abort();
    check(&reply, status, &error);
}

static void read_events(sc_str json)
{
    sc_chat_reply reply;
    sc_error      error = {0};
    sc_chat_reply_init(&reply, ANSWER_BYTES_MAX);
    sc_status status = sc_chat_read_event(json, &reply, &error);
    if (status == SC_OK)
        status = sc_chat_read_event(json, &reply, &error);
    if (status == SC_OK)
        status = sc_chat_check_end(&reply, &error);
    check(&reply, status, &error);
}

/* The input as a parameter's value, and as a prompt when it is text. */
static void write_request(sc_str bytes)
{
    sc_param    param = {SC_STR("x"), bytes};
    sc_llm_call call = {.model = SC_STR("m"), .params = &param, .params_count = 1};
    sc_buf      body;
    if (sc_utf8_valid(bytes, NULL))
        call.user_prompt = bytes;
    sc_buf_init(&body, 1 << 20);
    if (sc_chat_check(&call, NULL) == SC_OK &&
        sc_chat_write(&call, true, &body, NULL) == SC_OK && !sc_json_valid(sc_buf_view(&body)))
        abort();
    sc_buf_fini(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_str bytes = {(const char *)data, size};
    read_reply(bytes);
    read_events(bytes);
    write_request(bytes);
    return 0;
}
