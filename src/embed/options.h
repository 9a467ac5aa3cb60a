/* options.h - the settings of src/embed. */
#pragma once

#include "src/config/setting.h"
#include "src/embed/batch.h"
#include "src/http/endpoint.h"

/* AUTO: openai when there is a key for it, else local. */
typedef enum { SC_EMBED_AUTO, SC_EMBED_LOCAL, SC_EMBED_OPENAI } sc_embed_choice;

typedef struct {
    sc_embed_choice     provider;
    sc_embedder_options gather;

    /* Of the provider openai. */
    const char         *model;
    sc_endpoint_options endpoint; /* NULL members: as for chat */
    uint32_t            dim;      /* 0: known for the model, or asked of the upstream at start */
    uint32_t            connections;
    uint32_t            batch_max;
    uint32_t            retries;
    size_t              reply_bytes_max;
} sc_embed_options;

extern const sc_setting_table sc_embed_settings; /* of an sc_embed_options */
