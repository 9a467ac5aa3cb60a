#include "src/embed/options.h"

#define FIELD(member) SC_SETTING_FIELD(sc_embed_options, member)

static const sc_setting rows[] = {
    {"EMBEDDING_PROVIDER", SC_SETTING_CHOICE, FIELD(provider), 0, 0, "auto", "", "auto|local|openai",
     "What makes vectors of questions: the built-in encoder, or an upstream; auto takes the upstream "
     "when a key is set."},
    {"EMBEDDING_MODEL", SC_SETTING_TEXT, FIELD(model), 1, 256, "text-embedding-3-small", "", NULL,
     "Model of the embeddings upstream."},
    {"EMBEDDING_DIM", SC_SETTING_INT, FIELD(dim), 0, 16384, "0", "", NULL,
     "Dimension of its vectors; 0: that of the model, asked of the upstream when it is not known."},
    {"EMBEDDING_BASE_URL", SC_SETTING_TEXT, FIELD(endpoint.base_url), 1, 2048, NULL, "", NULL,
     "Embeddings upstream when it is not OPENAI_BASE_URL; OPENAI_API_KEY is not sent there."},
    {"EMBEDDING_API_KEY", SC_SETTING_SECRET, FIELD(endpoint.api_key), 0, 4095, NULL, "", NULL,
     "Key for embeddings."},
    {"EMBEDDING_TIMEOUT_MS", SC_SETTING_INT, FIELD(gather.timeout_ms), 1, 600000, "5000", "ms", NULL,
     "Longest wait for one batch, retries included."},
    {"EMBEDDING_RETRIES", SC_SETTING_INT, FIELD(retries), 0, 10, "2", "", NULL,
     "Repetitions after 429, 5xx or a broken connection, within the timeout."},
    {"EMBEDDING_CONNECTIONS", SC_SETTING_INT, FIELD(connections), 1, 256, "4", "", NULL,
     "Batches under way at the embeddings upstream at the same time."},
    {"EMBEDDING_BATCH_MAX", SC_SETTING_INT, FIELD(batch_max), 1, 2048, "64", "texts", NULL,
     "Texts in one call of the embeddings upstream."},
    {"EMBEDDING_REPLY_BYTES_MAX", SC_SETTING_INT, FIELD(reply_bytes_max), 4096, 1 << 30, "64MiB",
     "bytes", NULL, "Largest reply of the embeddings upstream that is read."},
    {"EMBEDDING_LINGER_US", SC_SETTING_INT, FIELD(gather.linger_us), 0, 1000000, "0", "us", NULL,
     "Extra wait of a batch for company; 0 leaves at once whenever a slot is free."},
    {"EMBEDDING_QUEUE_MAX", SC_SETTING_INT, FIELD(gather.texts_waiting_max), 1, 1000000, "4096",
     "texts", NULL, "Texts that may wait for a batch; beyond that a request goes on without one."},
    {"EMBEDDING_MAP_BYTES", SC_SETTING_INT, FIELD(gather.map_bytes_max), 0, 1e12, "64MiB", "bytes", NULL,
     "Memory for the vectors of texts seen before."},
    {"EMBEDDING_BREAKER_FAILURES", SC_SETTING_INT, FIELD(gather.breaker_failures), 0, 1000000, "3", "",
     NULL, "Failed batches in a row after which embeddings are left alone for a while; 0: never."},
    {"EMBEDDING_BREAKER_OPEN_MS", SC_SETTING_INT, FIELD(gather.breaker_open_ms), 1, 3600000, "5000",
     "ms", NULL, "How long they are left alone before one is tried again."},
};

const sc_setting_table sc_embed_settings = {
    .title = "Embeddings",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};
