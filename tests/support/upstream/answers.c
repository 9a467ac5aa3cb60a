/* What is said: bodies of replies, whole or broken as the script wants them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/upstream/internal.h"

enum { EVENTS_MAX = 64, WORDS_PER_EVENT = 3, LONG_LINE_BYTES = 4 << 20 };

static void put_base64(sc_buf *out, const void *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    char                 group[4];
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned)b[i] << 16;
        v |= i + 1 < len ? (unsigned)b[i + 1] << 8 : 0;
        v |= i + 2 < len ? b[i + 2] : 0;
        group[0] = digits[v >> 18];
        group[1] = digits[v >> 12 & 63];
        group[2] = i + 1 < len ? digits[v >> 6 & 63] : '=';
        group[3] = i + 2 < len ? digits[v & 63] : '=';
        sc_buf_append(out, group, sizeof group);
    }
}

static void put_string(sc_buf *out, sc_str text)
{
    json_t *value = json_stringn_nocheck(text.ptr == NULL ? "" : text.ptr, text.len);
    char   *json = json_dumps(value, JSON_ENCODE_ANY);
    sc_buf_str(out, json == NULL ? SC_STR("\"\"") : sc_str_of(json));
    free(json);
    json_decref(value);
}

void make_error(reply *out, int code, const char *message)
{
    out->code = code;
    out->type = "application/json";
    sc_buf_clear(&out->body);
    sc_buf_str(&out->body, SC_STR("{\"error\": {\"message\": "));
    put_string(&out->body, sc_str_of(message));
    sc_buf_printf(&out->body, ", \"type\": \"upstream_error\", \"code\": \"%d\"}}", code);
}

/* Faults of both endpoints that replace the body. */
static bool broken_body(reply *out)
{
    if (script_is(&out->how, "not_json"))
        sc_buf_str(&out->body, SC_STR("<html><body>502 Bad Gateway</body></html>"));
    else if (script_is(&out->how, "wrong_types"))
        sc_buf_str(&out->body, SC_STR("{\"data\": {\"embedding\": 7}, \"choices\": \"none\", \"usage\": []}"));
    else if (script_is(&out->how, "deep"))
        for (int i = 0; i < 20000; i++)
            sc_buf_byte(&out->body, '[');
    else if (!script_is(&out->how, "empty_body"))
        return false;
    return true;
}

static void cut_body(reply *out)
{
    if (script_is(&out->how, "cut"))
        out->cut_at = out->body.len / 2;
    if (script_is(&out->how, "truncate"))
        out->body.len /= 2;
}

/* ---- embeddings ---- */

static unsigned dimension(const sc_upstream *upstream, const json_t *root, const script *how)
{
    json_int_t asked = json_integer_value(json_object_get(root, "dimensions"));
    if (how->dim != 0)
        return how->dim;
    return asked > 0 && asked <= 8192 ? (unsigned)asked : upstream->options.dim;
}

static void spoil_vector(const script *how, float *vector, unsigned dim)
{
    if (script_is(how, "nan"))
        vector[dim / 2] = NAN;
    if (script_is(how, "inf"))
        vector[0] = INFINITY;
    if (script_is(how, "zero"))
        memset(vector, 0, dim * sizeof *vector);
}

static void put_floats(sc_buf *out, const float *vector, unsigned dim)
{
    for (unsigned i = 0; i < dim; i++)
        sc_buf_printf(out, "%s%.9g", i == 0 ? "[" : ",", (double)vector[i]);
    sc_buf_byte(out, ']');
}

static void put_vector(reply *out, const float *vector, unsigned dim, bool base64, size_t index)
{
    sc_buf *body = &out->body;
    sc_buf_printf(body, "%s{\"object\": \"embedding\", \"index\": %zu, \"embedding\": ",
                  body->data[body->len - 1] == '[' ? "" : ", ", index);
    if (!base64) {
        put_floats(body, vector, dim);
    } else {
        sc_buf_byte(body, '"');
        put_base64(body, vector, dim * sizeof *vector);
        if (script_is(&out->how, "bad_base64"))
            body->data[body->len - 7] = '!';
        sc_buf_byte(body, '"');
    }
    sc_buf_byte(body, '}');
}

static bool text_at(const json_t *input, size_t at, sc_str *text)
{
    const json_t *item = json_is_array(input) ? json_array_get(input, at) : input;
    if (!json_is_string(item))
        return false;
    *text = (sc_str){json_string_value(item), json_string_length(item)};
    return true;
}

static bool put_vectors(sc_upstream *upstream, const json_t *root, const json_t *input, size_t count,
                        reply *out)
{
    const char *format = json_string_value(json_object_get(root, "encoding_format"));
    bool        base64 = format != NULL && strcmp(format, "base64") == 0 && !out->how.floats;
    unsigned    dim = dimension(upstream, root, &out->how);
    bool        backwards = script_is(&out->how, "reorder");
    bool        ragged = script_is(&out->how, "ragged");
    size_t      sent = count - (script_is(&out->how, "fewer") ? 1 : 0);
    float      *vector = malloc((size_t)dim * sizeof *vector);
    bool        good = vector != NULL;
    for (size_t i = 0; good && i < sent; i++) {
        size_t at = backwards ? count - 1 - i : i;
        sc_str text = {0};
        good = text_at(input, at, &text);
        if (!good)
            break;
        vector_of(upstream, text, vector, dim);
        spoil_vector(&out->how, vector, dim);
        put_vector(out, vector, dim - (ragged && i == sent - 1), base64,
                   script_is(&out->how, "duplicate") ? 0 : at);
    }
    if (good && script_is(&out->how, "more"))
        put_vector(out, vector, dim, base64, count);
    free(vector);
    return good;
}

bool make_embeddings(sc_upstream *upstream, const request *in, reply *out)
{
    json_t       *root = json_loadb(in->body.ptr, in->body.len, 0, NULL);
    const json_t *input = json_object_get(root, "input");
    const char   *model = json_string_value(json_object_get(root, "model"));
    size_t        count = json_is_array(input) ? json_array_size(input) : 1;
    bool          good = model != NULL && input != NULL && count > 0;
    if (!good)
        goto out;
    pthread_mutex_lock(&upstream->lock);
    upstream->counters.embeddings_texts += count;
    if (count > upstream->counters.embeddings_batch_max)
        upstream->counters.embeddings_batch_max = count;
    pthread_mutex_unlock(&upstream->lock);
    if (broken_body(out))
        goto out;
    sc_buf_str(&out->body, SC_STR("{\"object\": \"list\", \"data\": ["));
    good = put_vectors(upstream, root, input, count, out);
    sc_buf_str(&out->body, SC_STR("], \"model\": "));
    put_string(&out->body, sc_str_of(model));
    sc_buf_printf(&out->body, ", \"usage\": {\"prompt_tokens\": %zu, \"total_tokens\": %zu}}",
                  count * 8, count * 8);
    cut_body(out);
out:
    json_decref(root);
    return good;
}

/* ---- chat ---- */

static sc_str last_user_text(const json_t *messages)
{
    sc_str  text = {"", 0};
    size_t  at;
    json_t *message;
    json_array_foreach(messages, at, message)
    {
        const char   *role = json_string_value(json_object_get(message, "role"));
        const json_t *content = json_object_get(message, "content");
        if (role != NULL && strcmp(role, "user") == 0 && json_is_string(content))
            text = (sc_str){json_string_value(content), json_string_length(content)};
    }
    return text;
}

static void say_words(const sc_upstream *upstream, const reply *out, sc_str question, sc_buf *answer)
{
    if (out->how.has_answer || script_is(&out->how, "empty_content")) {
        sc_buf_str(answer, sc_str_of(out->how.answer));
        return;
    }
    if (upstream->options.demo)
        sc_buf_str(answer, SC_STR("This is the demo upstream, not an LLM. It would now answer: "));
    else
        sc_buf_str(answer, SC_STR("answer to: "));
    sc_buf_str(answer, question);
}

static void say(const sc_upstream *upstream, const reply *out, sc_str question, sc_buf *answer)
{
    say_words(upstream, out, question, answer);
    while ((int64_t)answer->len < out->how.answer_bytes && answer->failed == SC_OK)
        sc_buf_str(answer, SC_STR("x"));
}

static size_t words(sc_str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++)
        count += text.ptr[i] != ' ' && (i == 0 || text.ptr[i - 1] == ' ');
    return count;
}

static void put_usage(sc_buf *out, sc_str question, sc_str answer)
{
    sc_buf_printf(out,
                  "\"usage\": {\"prompt_tokens\": %zu, \"completion_tokens\": %zu, "
                  "\"total_tokens\": %zu}",
                  words(question), words(answer), words(question) + words(answer));
}

static void put_choice(reply *out, sc_str answer)
{
    sc_buf *body = &out->body;
    if (script_is(&out->how, "no_choices"))
        return;
    sc_buf_str(body, SC_STR("{\"index\": 0, "));
    if (!script_is(&out->how, "no_message")) {
        sc_buf_str(body, SC_STR("\"message\": {\"role\": \"assistant\", \"content\": "));
        if (script_is(&out->how, "null_content"))
            sc_buf_str(body, SC_STR("null"));
        else if (script_is(&out->how, "bad_utf8"))
            sc_buf_str(body, SC_STR("\"caf\xe9\""));
        else
            put_string(body, answer);
        sc_buf_str(body, SC_STR("}, "));
    }
    sc_buf_printf(body, "\"finish_reason\": \"%s\"}", out->how.finish_reason);
}

static void put_head(const sc_upstream *upstream, reply *out, const char *model, const char *object)
{
    (void)upstream;
    sc_buf_printf(&out->body, "{\"id\": \"chatcmpl-1\", \"object\": \"%s\", \"created\": 1, \"model\": ",
                  object);
    put_string(&out->body, sc_str_of(out->how.model[0] != '\0' ? out->how.model : model));
}

static void make_whole(const sc_upstream *upstream, reply *out, const char *model, sc_str question,
                       sc_str answer)
{
    put_head(upstream, out, model, "chat.completion");
    sc_buf_str(&out->body, SC_STR(", \"choices\": ["));
    put_choice(out, answer);
    sc_buf_byte(&out->body, ']');
    if (!out->how.no_usage) {
        sc_buf_str(&out->body, SC_STR(", "));
        put_usage(&out->body, question, answer);
    }
    sc_buf_byte(&out->body, '}');
    cut_body(out);
}

static void end_event(reply *out)
{
    sc_buf_str(&out->body, SC_STR("\n\n"));
    if (out->pieces_count < EVENTS_MAX)
        out->pieces[out->pieces_count++] = out->body.len;
    else
        out->pieces[EVENTS_MAX - 1] = out->body.len;
    if (script_is(&out->how, "stream_cut") && out->pieces_count == (size_t)out->how.cut_after)
        out->cut_at = out->body.len;
}

static void put_delta(const sc_upstream *upstream, reply *out, const char *model, sc_str delta,
                      const char *finish)
{
    sc_buf_str(&out->body, SC_STR("data: "));
    put_head(upstream, out, model, "chat.completion.chunk");
    sc_buf_str(&out->body, SC_STR(", \"choices\": [{\"index\": 0, \"delta\": {"));
    if (finish == NULL) {
        sc_buf_str(&out->body, SC_STR("\"content\": "));
        put_string(&out->body, delta);
        sc_buf_str(&out->body, SC_STR("}, \"finish_reason\": null}]}"));
    } else {
        sc_buf_printf(&out->body, "}, \"finish_reason\": \"%s\"}]}", finish);
    }
    end_event(out);
}

/* A few words, never cutting a character. */
static sc_str next_delta(sc_str *rest)
{
    size_t at = 0, blanks = 0;
    while (at < rest->len && (blanks += rest->ptr[at] == ' ') < WORDS_PER_EVENT)
        at++;
    sc_str delta = {rest->ptr, at};
    *rest = (sc_str){rest->ptr + at, rest->len - at};
    return delta;
}

static void spoil_stream(reply *out)
{
    static const char blanks[] = "                                                                ";
    if (script_is(&out->how, "stream_error"))
        sc_buf_str(&out->body, SC_STR("data: {\"error\": {\"message\": \"overloaded\"}}"));
    else if (script_is(&out->how, "stream_garbage"))
        sc_buf_str(&out->body, SC_STR("data: {\"choices\": [{\"delta"));
    else if (script_is(&out->how, "long_line"))
        for (size_t i = 0; i < LONG_LINE_BYTES; i += sizeof blanks - 1)
            sc_buf_append(&out->body, blanks, sizeof blanks - 1);
    else
        return;
    end_event(out);
}

static void make_stream(const sc_upstream *upstream, const json_t *root, reply *out,
                        const char *model, sc_str question, sc_str answer)
{
    const json_t *options = json_object_get(root, "stream_options");
    sc_str        rest = answer;
    out->type = "text/event-stream";
    while (rest.len != 0) {
        put_delta(upstream, out, model, next_delta(&rest), NULL);
        if (out->pieces_count == 1)
            spoil_stream(out);
    }
    put_delta(upstream, out, model, (sc_str){0}, out->how.finish_reason);
    if (json_is_true(json_object_get(options, "include_usage")) && !out->how.no_usage) {
        sc_buf_str(&out->body, SC_STR("data: "));
        put_head(upstream, out, model, "chat.completion.chunk");
        sc_buf_str(&out->body, SC_STR(", \"choices\": [], "));
        put_usage(&out->body, question, answer);
        sc_buf_byte(&out->body, '}');
        end_event(out);
    }
    if (script_is(&out->how, "no_done"))
        return;
    sc_buf_str(&out->body, SC_STR("data: [DONE]"));
    end_event(out);
}

bool make_chat(sc_upstream *upstream, const request *in, reply *out)
{
    json_t       *root = json_loadb(in->body.ptr, in->body.len, 0, NULL);
    const json_t *messages = json_object_get(root, "messages");
    const char   *model = json_string_value(json_object_get(root, "model"));
    bool          good = model != NULL && json_array_size(messages) > 0;
    sc_buf        answer;
    sc_buf_init(&answer, 4 << 20);
    if (!good || broken_body(out))
        goto out;
    sc_str question = last_user_text(messages);
    say(upstream, out, question, &answer);
    out->stream = json_is_true(json_object_get(root, "stream"));
    if (out->stream) {
        out->pieces = calloc(EVENTS_MAX, sizeof *out->pieces);
        make_stream(upstream, root, out, model, question, sc_buf_view(&answer));
    } else {
        make_whole(upstream, out, model, question, sc_buf_view(&answer));
    }
out:
    sc_buf_fini(&answer);
    json_decref(root);
    return good;
}
