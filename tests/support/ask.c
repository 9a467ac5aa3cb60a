#include "tests/support/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/client.h"

#define METHOD(name) "/semcache.v1.SemanticCache/" name

struct sc_asker {
    sc_client *client;
};

static void stop_test(const char *what, const char *why)
{
    fprintf(stderr, "tests/support/ask: %s: %s\n", what, why);
    abort();
}

sc_asker *sc_asker_open(const char *target)
{
    return sc_asker_open_as(target, NULL);
}

sc_asker *sc_asker_open_as(const char *target, const char *key)
{
    sc_client_options options = {.target = target, .token = key};
    sc_error          error = {.status = SC_OK};
    sc_asker         *asker = calloc(1, sizeof *asker);
    if (asker == NULL || sc_client_open(&options, &asker->client, &error) != SC_OK)
        stop_test("open", error.text);
    return asker;
}

void sc_asker_close(sc_asker *asker)
{
    sc_client_close(asker->client);
    free(asker);
}

sc_ask_request sc_ask_init(const char *prompt)
{
    sc_ask_request request = SEMCACHE__V1__ANSWER_REQUEST__INIT;
    request.user_prompt = (char *)(uintptr_t)prompt;
    return request;
}

/* The reply's message, or NULL. */
static ProtobufCMessage *call(sc_asker *asker, const char *path, sc_str bytes,
                              const ProtobufCMessageDescriptor *type, sc_outcome *outcome)
{
    char    *reply = NULL;
    size_t   len = 0;
    sc_error error = {.status = SC_OK};
    *outcome = (sc_outcome){.status = SC_OK};
    outcome->status = sc_client_ask(asker->client, path, bytes, SC_ASK_TIMEOUT_MS, &reply, &len,
                                    &outcome->retry_after_ms, &error);
    snprintf(outcome->text, sizeof outcome->text, "%s", error.text);
    if (outcome->status != SC_OK)
        return NULL;
    ProtobufCMessage *message =
        type == NULL ? NULL : protobuf_c_message_unpack(type, NULL, len, (uint8_t *)reply);
    if (type != NULL && message == NULL)
        stop_test(path, "the reply is no message of its type");
    free(reply);
    return message;
}

static ProtobufCMessage *call_message(sc_asker *asker, const char *path,
                                      const ProtobufCMessage           *request,
                                      const ProtobufCMessageDescriptor *type, sc_outcome *outcome)
{
    size_t   len = protobuf_c_message_get_packed_size(request);
    uint8_t *bytes = malloc(len + 1);
    if (bytes == NULL)
        stop_test(path, "no memory");
    protobuf_c_message_pack(request, bytes);
    sc_outcome        ignored;
    sc_outcome       *went = outcome == NULL ? &ignored : outcome;
    ProtobufCMessage *message = call(asker, path, (sc_str){(char *)bytes, len}, type, went);
    free(bytes);
    if (outcome == NULL && message == NULL)
        stop_test(path, went->text);
    return message;
}

sc_ask_response *sc_ask(sc_asker *asker, const sc_ask_request *request, sc_outcome *outcome)
{
    return (sc_ask_response *)(void *)call_message(asker, METHOD("Answer"), &request->base,
                                                   &semcache__v1__answer_response__descriptor,
                                                   outcome);
}

void sc_ask_free(sc_ask_response *response)
{
    semcache__v1__answer_response__free_unpacked(response, NULL);
}

Semcache__V1__Source sc_ask_source(sc_asker *asker, const char *prompt)
{
    sc_ask_request       request = sc_ask_init(prompt);
    sc_ask_response     *response = sc_ask(asker, &request, NULL);
    Semcache__V1__Source source = response->source;
    sc_ask_free(response);
    return source;
}

sc_stats_response *sc_ask_stats(sc_asker *asker)
{
    Semcache__V1__StatsRequest request = SEMCACHE__V1__STATS_REQUEST__INIT;
    return (sc_stats_response *)(void *)call_message(asker, METHOD("Stats"), &request.base,
                                                     &semcache__v1__stats_response__descriptor,
                                                     NULL);
}

void sc_stats_free(sc_stats_response *response)
{
    semcache__v1__stats_response__free_unpacked(response, NULL);
}

sc_invalidate_response *sc_ask_invalidate(sc_asker *asker, const sc_invalidate_request *request,
                                          sc_outcome *outcome)
{
    return (sc_invalidate_response *)(void *)call_message(
        asker, METHOD("Invalidate"), &request->base,
        &semcache__v1__invalidate_response__descriptor, outcome);
}

void sc_invalidate_free(sc_invalidate_response *response)
{
    semcache__v1__invalidate_response__free_unpacked(response, NULL);
}

sc_outcome sc_ask_raw(sc_asker *asker, const char *path, sc_str bytes)
{
    sc_outcome outcome;
    call(asker, path, bytes, NULL, &outcome);
    return outcome;
}
