#include <stdio.h>
#include <stdlib.h>

#include "tests/support/upstream/internal.h"

void script_init(script *s)
{
    *s = (script){.times = -1,
                  .retry_after_s = -1,
                  .retry_after_ms = -1,
                  .cut_after = 2,
                  .huge_bytes = 500 * 1000 * 1000};
    snprintf(s->finish_reason, sizeof s->finish_reason, "stop");
}

bool script_is(const script *s, const char *fault)
{
    return strcmp(s->fault, fault) == 0;
}

static int64_t number(const json_t *object, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(object, name);
    return json_is_number(value) ? (int64_t)json_number_value(value) : otherwise;
}

static void text(const json_t *object, const char *name, char *out, size_t room)
{
    const char *value = json_string_value(json_object_get(object, name));
    if (value != NULL)
        snprintf(out, room, "%s", value);
}

static void read_script(const json_t *object, script *s)
{
    script_init(s);
    s->delay_ms = number(object, "delay_ms", 0);
    s->jitter_ms = number(object, "jitter_ms", 0);
    s->http_status = (int)number(object, "status", 0);
    s->retry_after_s = number(object, "retry_after_s", -1);
    s->retry_after_ms = number(object, "retry_after_ms", -1);
    s->times = number(object, "times", -1);
    s->dim = (unsigned)number(object, "dim", 0);
    s->floats = json_is_true(json_object_get(object, "floats"));
    s->no_usage = json_is_false(json_object_get(object, "usage"));
    s->chunk_ms = number(object, "chunk_ms", 0);
    s->cut_after = number(object, "cut_after", s->cut_after);
    s->huge_bytes = number(object, "huge_bytes", s->huge_bytes);
    s->has_answer = json_object_get(object, "answer") != NULL;
    s->answer_bytes = number(object, "answer_bytes", 0);
    text(object, "fault", s->fault, sizeof s->fault);
    text(object, "answer", s->answer, sizeof s->answer);
    text(object, "finish_reason", s->finish_reason, sizeof s->finish_reason);
    text(object, "model", s->model, sizeof s->model);
}

static void clear_aliases(sc_upstream *upstream)
{
    for (size_t i = 0; i < upstream->aliases_count; i++) {
        free(upstream->aliases[i].text);
        free(upstream->aliases[i].to);
    }
    free(upstream->aliases);
    upstream->aliases = NULL;
    upstream->aliases_count = 0;
}

/* A later alias of the same text wins. */
static void add_alias(sc_upstream *upstream, const json_t *object)
{
    const char *from = json_string_value(json_object_get(object, "text"));
    const char *to = json_string_value(json_object_get(object, "to"));
    if (from == NULL || to == NULL)
        return;
    alias *more = realloc(upstream->aliases, (upstream->aliases_count + 1) * sizeof *more);
    if (more == NULL)
        return;
    upstream->aliases = more;
    more[upstream->aliases_count++] =
        (alias){strdup(from), strdup(to), json_number_value(json_object_get(object, "distance"))};
}

static void reset(sc_upstream *upstream)
{
    sc_upstream_counters *c = &upstream->counters;
    script_init(&upstream->scripts[0]);
    script_init(&upstream->scripts[1]);
    if (upstream->options.demo) {
        upstream->scripts[SC_UPSTREAM_CHAT].delay_ms = 600;
        upstream->scripts[SC_UPSTREAM_CHAT].jitter_ms = 600;
    }
    clear_aliases(upstream);
    upstream->key[0] = '\0';
    *c = (sc_upstream_counters){.embeddings_in_flight = c->embeddings_in_flight,
                                .chat_in_flight = c->chat_in_flight,
                                .connections_open = c->connections_open};
    for (int i = 0; i < 2; i++) {
        free(upstream->last[i].path);
        free(upstream->last[i].headers);
        free(upstream->last[i].body);
        upstream->last[i] = (last_call){0};
    }
}

static void apply(sc_upstream *upstream, const json_t *root)
{
    static const char *const names[] = {"embeddings", "chat"};
    size_t                   at;
    json_t                  *item;
    if (json_is_true(json_object_get(root, "reset")))
        reset(upstream);
    text(root, "key", upstream->key, sizeof upstream->key);
    json_array_foreach(json_object_get(root, "alias"), at, item) add_alias(upstream, item);
    for (int i = 0; i < 2; i++) {
        const json_t *object = json_object_get(root, names[i]);
        if (json_is_object(object))
            read_script(object, &upstream->scripts[i]);
    }
}

bool control_apply(sc_upstream *upstream, const char *json, size_t len)
{
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
    bool    good = json_is_object(root);
    if (good) {
        pthread_mutex_lock(&upstream->lock);
        apply(upstream, root);
        pthread_mutex_unlock(&upstream->lock);
    }
    json_decref(root);
    return good;
}

void counters_json(sc_upstream *upstream, sc_buf *out)
{
    sc_upstream_counters c;
    sc_upstream_look(upstream, &c);
#define COUNTER(name) {#name, c.name}
    const struct {
        const char *name;
        uint64_t    value;
    } rows[] = {
        COUNTER(embeddings_calls),
        COUNTER(embeddings_texts),
        COUNTER(embeddings_batch_max),
        COUNTER(chat_calls),
        COUNTER(chat_streams),
        COUNTER(embeddings_in_flight_max),
        COUNTER(chat_in_flight_max),
        COUNTER(embeddings_in_flight),
        COUNTER(chat_in_flight),
        COUNTER(abandoned),
        COUNTER(refused),
        COUNTER(connections),
        COUNTER(connections_open),
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        sc_buf_printf(out, "%s\"%s\": %llu", i == 0 ? "{" : ", ", rows[i].name,
                      (unsigned long long)rows[i].value);
    sc_buf_str(out, SC_STR("}\n"));
}
