#include "src/llm/chat_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "src/text/json.h"
#include "src/text/utf8.h"

void sc_chat_reply_init(sc_chat_reply *reply, size_t answer_bytes_max)
{
    *reply = (sc_chat_reply){0};
    sc_buf_init(&reply->answer, answer_bytes_max);
}

void sc_chat_reply_fini(sc_chat_reply *reply)
{
    sc_buf_fini(&reply->answer);
}

/* ---- the request ---- */

static void put_message(sc_buf *body, sc_str role, sc_str content, bool *first)
{
    sc_buf_str(body, *first ? SC_STR("{\"role\":") : SC_STR(",{\"role\":"));
    sc_json_put_string(body, role);
    sc_buf_str(body, SC_STR(",\"content\":"));
    sc_json_put_string(body, content);
    sc_buf_byte(body, '}');
    *first = false;
}

static void put_messages(sc_buf *body, const sc_llm_call *call)
{
    bool first = true;
    sc_buf_str(body, SC_STR(",\"messages\":["));
    if (call->system_prompt.len != 0)
        put_message(body, SC_STR("system"), call->system_prompt, &first);
    for (size_t i = 0; i < call->turns_count; i++)
        put_message(body, call->turns[i].role, call->turns[i].content, &first);
    put_message(body, SC_STR("user"), call->user_prompt, &first);
    sc_buf_byte(body, ']');
}

/* The shortest decimal that reads back as the same number: 0.1, not 0.10000000000000001. */
static void put_number(sc_buf *body, double number)
{
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    sc_buf_str(body, sc_str_of(text));
}

static bool is_reserved(sc_str name)
{
    static const char *const ours[] = {"model", "messages", "temperature", "stream",
                                       "stream_options", "n"};
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (sc_str_equal(name, sc_str_of(ours[i])))
            return true;
    return name.len == 0;
}

sc_status sc_chat_check(const sc_llm_call *call, sc_error *error)
{
    if (!isfinite(call->temperature))
        return sc_fail(error, SC_INVALID, "temperature: not a number");
    for (size_t i = 0; i < call->params_count; i++) {
        if (is_reserved(call->params[i].name))
            return sc_fail(error, SC_INVALID, "parameter %zu: its name is not free", i);
        if (!sc_json_valid(call->params[i].json))
            return sc_fail(error, SC_INVALID, "parameter %zu: its value is not JSON", i);
    }
    return SC_OK;
}

static void put_params(sc_buf *body, const sc_llm_call *call)
{
    for (size_t i = 0; i < call->params_count; i++) {
        sc_buf_byte(body, ',');
        sc_json_put_string(body, call->params[i].name);
        sc_buf_byte(body, ':');
        sc_buf_str(body, call->params[i].json);
    }
}

sc_status sc_chat_write(const sc_llm_call *call, bool stream, sc_buf *body, sc_error *error)
{
    sc_buf_str(body, SC_STR("{\"model\":"));
    sc_json_put_string(body, call->model);
    put_messages(body, call);
    sc_buf_str(body, SC_STR(",\"temperature\":"));
    put_number(body, call->temperature);
    put_params(body, call);
    if (stream)
        sc_buf_str(body, SC_STR(",\"stream\":true,\"stream_options\":{\"include_usage\":true}"));
    sc_buf_byte(body, '}');
    if (body->failed != SC_OK)
        return sc_fail(error, body->failed, "the chat request does not fit its bound");
    return SC_OK;
}

/* ---- the reply ---- */

static sc_status corrupt(sc_error *error, const char *what)
{
    return sc_fail(error, SC_CORRUPT, "chat reply: %s", what);
}

/* A name that does not fit is cut; neither value is longer in practice. */
static void copy_text(const json_t *object, const char *name, char *out, size_t room)
{
    const char *text = json_string_value(json_object_get(object, name));
    if (text != NULL)
        snprintf(out, room, "%.*s", (int)sc_utf8_prefix(sc_str_of(text), room - 1), text);
}

static uint32_t read_count(const json_t *usage, const char *name)
{
    json_int_t count = json_integer_value(json_object_get(usage, name));
    return count > 0 && count <= UINT32_MAX ? (uint32_t)count : 0;
}

static void read_usage(const json_t *root, sc_chat_reply *reply)
{
    const json_t *usage = json_object_get(root, "usage");
    if (!json_is_object(usage))
        return;
    reply->has_usage = true;
    reply->prompt_tokens = read_count(usage, "prompt_tokens");
    reply->completion_tokens = read_count(usage, "completion_tokens");
}

static sc_status add_text(sc_chat_reply *reply, const json_t *content, sc_error *error)
{
    sc_status status =
        sc_buf_append(&reply->answer, json_string_value(content), json_string_length(content));
    if (status != SC_OK)
        return sc_fail(error, status, "chat reply: the answer is over %zu bytes",
                       reply->answer.bytes_max);
    return SC_OK;
}

static sc_status check_answer(const sc_chat_reply *reply, sc_error *error)
{
    if (reply->answer.len == 0)
        return sc_fail(error, SC_UNAVAILABLE, "chat upstream: an empty answer");
    return SC_OK;
}

static sc_status read_choice(const json_t *choice, sc_chat_reply *reply, sc_error *error)
{
    const json_t *message = json_object_get(choice, "message");
    const json_t *content = json_object_get(message, "content");
    copy_text(choice, "finish_reason", reply->finish_reason, sizeof reply->finish_reason);
    if (!json_is_object(message))
        return corrupt(error, "a choice without a message");
    if (content == NULL || json_is_null(content))
        return sc_fail(error, SC_UNAVAILABLE, "chat upstream: a message without text");
    if (!json_is_string(content))
        return corrupt(error, "the content is not a text");
    sc_status status = add_text(reply, content, error);
    return status == SC_OK ? check_answer(reply, error) : status;
}

sc_status sc_chat_read(sc_str json, sc_chat_reply *reply, sc_error *error)
{
    json_t   *root = NULL;
    sc_status status = sc_json_parse(json, json.len, &root, error);
    if (status != SC_OK)
        return sc_fail(error, status == SC_NO_MEMORY ? status : SC_CORRUPT,
                       "chat reply: it is not JSON");
    const json_t *choices = json_object_get(root, "choices");
    copy_text(root, "model", reply->model, sizeof reply->model);
    read_usage(root, reply);
    if (!json_is_array(choices))
        status = corrupt(error, "no list \"choices\"");
    else if (json_array_size(choices) == 0)
        status = sc_fail(error, SC_UNAVAILABLE, "chat upstream: no choice in its reply");
    else
        status = read_choice(json_array_get(choices, 0), reply, error);
    json_decref(root);
    return status;
}

/* ---- streams ---- */

static sc_status read_delta(const json_t *choice, sc_chat_reply *reply, sc_error *error)
{
    const json_t *delta = json_object_get(choice, "delta");
    const json_t *content = json_object_get(delta, "content");
    const json_t *index = json_object_get(choice, "index");
    if (index != NULL && json_integer_value(index) != 0)
        return SC_OK; /* another choice than the one that was asked for */
    copy_text(choice, "finish_reason", reply->finish_reason, sizeof reply->finish_reason);
    if (content == NULL || json_is_null(content))
        return SC_OK;
    if (!json_is_string(content))
        return corrupt(error, "a delta's content is not a text");
    return add_text(reply, content, error);
}

static sc_status read_chunk(const json_t *root, sc_chat_reply *reply, sc_error *error)
{
    const json_t *choices = json_object_get(root, "choices");
    const json_t *failure = json_object_get(root, "error");
    if (failure != NULL && !json_is_null(failure))
        return sc_fail(error, SC_UNAVAILABLE, "chat upstream: an error in mid-stream");
    if (!json_is_object(root))
        return corrupt(error, "an event is not an object");
    copy_text(root, "model", reply->model, sizeof reply->model);
    read_usage(root, reply);
    if (choices != NULL && !json_is_array(choices))
        return corrupt(error, "an event's \"choices\" is not a list");
    if (json_array_size(choices) == 0)
        return SC_OK;
    return read_delta(json_array_get(choices, 0), reply, error);
}

sc_status sc_chat_read_event(sc_str data, sc_chat_reply *reply, sc_error *error)
{
    json_t *root = NULL;
    if (reply->ended)
        return SC_OK;
    if (sc_str_equal(data, SC_STR("[DONE]"))) {
        reply->ended = true;
        return SC_OK;
    }
    sc_status status = sc_json_parse(data, data.len, &root, error);
    if (status != SC_OK)
        return corrupt(error, "an event is not JSON");
    status = read_chunk(root, reply, error);
    json_decref(root);
    return status;
}

sc_status sc_chat_check_end(const sc_chat_reply *reply, sc_error *error)
{
    if (reply->finish_reason[0] == '\0')
        return sc_fail(error, SC_UNAVAILABLE, "chat upstream: the stream ended before the answer");
    return check_answer(reply, error);
}
