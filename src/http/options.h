/* options.h - the settings of src/http: the loop, and the upstream that embeddings and chat
 * share unless they are told otherwise. */
#pragma once

#include "src/config/setting.h"
#include "src/http/endpoint.h"

typedef struct {
    sc_http_options     loop;
    sc_endpoint_options openai;
} sc_http_setup;

extern const sc_setting_table sc_http_settings; /* of an sc_http_setup */
