#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "client/cli/cli.h"

#define SERVICE "/semcache.v1.SemanticCache/"

/* Packs, asks, unpacks. NULL with *error filled on failure. */
static ProtobufCMessage *ask(cli *c, const char *path, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *reply_kind, sc_error *error)
{
    size_t            len = protobuf_c_message_get_packed_size(request);
    uint8_t          *bytes = malloc(len + 1);
    char             *reply = NULL;
    ProtobufCMessage *message = NULL;

    if (bytes == NULL) {
        sc_fail(error, SC_NO_MEMORY, "no memory for the request");
        return NULL;
    }
    protobuf_c_message_pack(request, bytes);
    if (sc_client_ask(c->client, path, (sc_str){(char *)bytes, len}, c->options.timeout_ms, &reply,
                      &len, NULL, error) == SC_OK) {
        message = protobuf_c_message_unpack(reply_kind, NULL, len, (uint8_t *)reply);
        if (message == NULL)
            sc_fail(error, SC_CORRUPT, "the reply is not a %s", reply_kind->short_name);
    }
    free(bytes);
    free(reply);
    return message;
}

answer_response *cli_answer(cli *c, const answer_request *request, int64_t *elapsed_us,
                            sc_error *error)
{
    sc_instant        from = sc_now();
    ProtobufCMessage *reply = ask(c, SERVICE "Answer", &request->base,
                                  &semcache__v1__answer_response__descriptor, error);
    if (elapsed_us != NULL)
        *elapsed_us = sc_elapsed_us(from, sc_now());
    return (answer_response *)reply;
}

stats_response *cli_stats(cli *c, sc_error *error)
{
    Semcache__V1__StatsRequest request = SEMCACHE__V1__STATS_REQUEST__INIT;
    return (stats_response *)ask(c, SERVICE "Stats", &request.base,
                                 &semcache__v1__stats_response__descriptor, error);
}

invalidate_response *cli_invalidate(cli *c, const invalidate_request *request, sc_error *error)
{
    return (invalidate_response *)ask(c, SERVICE "Invalidate", &request->base,
                                      &semcache__v1__invalidate_response__descriptor, error);
}

/* CACHE_MODE_ONLY_IF_CACHED for "only-if-cached". */
static bool mode_read(const char *text, Semcache__V1__CacheMode *mode)
{
    char   name[64];
    size_t len = (size_t)snprintf(name, sizeof name, "CACHE_MODE_%s", text);
    if (len >= sizeof name)
        return false;
    for (size_t i = 0; i < len; i++)
        name[i] = name[i] == '-' ? '_' : name[i];
    const ProtobufCEnumDescriptor *kind = &semcache__v1__cache_mode__descriptor;
    for (unsigned i = 0; i < kind->n_values; i++)
        if (strcasecmp(kind->values[i].name, name) == 0) {
            *mode = (Semcache__V1__CacheMode)kind->values[i].value;
            return true;
        }
    return false;
}

bool cli_request_fill(const cli_options *o, answer_request *request, sc_error *error)
{
    semcache__v1__answer_request__init(request);
    if (o->system != NULL)
        request->system_prompt = o->system;
    if (o->model != NULL)
        request->model = o->model;
    if (o->corpus_version != NULL)
        request->corpus_version = o->corpus_version;
    if (o->has_temperature) {
        request->optional_temperature_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TEMPERATURE_TEMPERATURE;
        request->temperature = o->temperature;
    }
    if (o->has_max_distance) {
        request->optional_max_distance_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
        request->max_distance = o->max_distance;
    }
    if (o->has_top_k) {
        request->optional_top_k_case = SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TOP_K_TOP_K;
        request->top_k = (uint32_t)o->top_k;
    }
    if (o->has_ttl) {
        request->optional_ttl_seconds_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_TTL_SECONDS_TTL_SECONDS;
        request->ttl_seconds = o->ttl;
    }
    request->tags = (char **)(uintptr_t)o->tags.items;
    request->n_tags = o->tags.count;
    if (o->mode == NULL || mode_read(o->mode, &request->cache_mode))
        return true;
    sc_fail(error, SC_INVALID,
            "--mode: %s is none of default, refresh, no-store, bypass, only-if-cached", o->mode);
    return false;
}

static const char *enum_name(const ProtobufCEnumDescriptor *kind, int value, size_t prefix)
{
    const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(kind, value);
    return found != NULL ? found->name + prefix : "?";
}

const char *cli_source_name(const answer_response *response)
{
    return enum_name(&semcache__v1__source__descriptor, (int)response->source, strlen("SOURCE_"));
}

const char *cli_reason_name(int reason)
{
    return enum_name(&semcache__v1__reason__descriptor, reason, strlen("REASON_"));
}
