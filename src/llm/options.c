#include "src/llm/options.h"

#define FIELD(member) SC_SETTING_FIELD(sc_llm_options, member)

static const sc_setting rows[] = {
    {"CHAT_MODEL", SC_SETTING_TEXT, FIELD(model), 1, 256, "gpt-4o-mini", "", NULL,
     "Model for requests that name none."},
    {"LLM_BASE_URL", SC_SETTING_TEXT, FIELD(endpoint.base_url), 1, 2048, NULL, "", NULL,
     "Chat upstream when it is not OPENAI_BASE_URL; OPENAI_API_KEY is not sent there."},
    {"LLM_API_KEY", SC_SETTING_SECRET, FIELD(endpoint.api_key), 0, 4095, NULL, "", NULL,
     "Key for chat."},
    {"LLM_TIMEOUT_MS", SC_SETTING_INT, FIELD(timeout_ms), 1, 3600000, "60000", "ms", NULL,
     "Longest wait for an answer of the model; a caller's deadline may be shorter."},
    {"LLM_STREAM", SC_SETTING_BOOL, FIELD(stream), 0, 0, "off", "", NULL,
     "Ask the model for a stream of tokens instead of one reply."},
    {"LLM_RETRIES", SC_SETTING_INT, FIELD(retries), 0, 10, "0", "", NULL,
     "Repetitions after 429 and when no connection could be made; nothing else is repeated."},
    {"LLM_CONNECTIONS", SC_SETTING_INT, FIELD(connections), 1, 65536, "256", "", NULL,
     "Calls of the model under way at the same time."},
    {"LLM_QUEUE_MAX", SC_SETTING_INT, FIELD(queue_max), 0, 1000000, "16384", "", NULL,
     "Calls that may wait for one of those; beyond that requests are refused."},
    {"LLM_ANSWER_BYTES_MAX", SC_SETTING_INT, FIELD(answer_bytes_max), 1, 1 << 28, "1MiB", "bytes", NULL,
     "Longest answer that is accepted from the model."},
    {"LLM_BREAKER_FAILURES", SC_SETTING_INT, FIELD(breaker_failures), 0, 1000000, "5", "", NULL,
     "Failed calls in a row after which the model is left alone for a while; 0: never."},
    {"LLM_BREAKER_OPEN_MS", SC_SETTING_INT, FIELD(breaker_open_ms), 1, 3600000, "5000", "ms", NULL,
     "How long it is left alone before one call is tried again."},
};

const sc_setting_table sc_llm_settings = {
    .title = "Language model",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};
