#include "src/http/options.h"

#define FIELD(member) SC_SETTING_FIELD(sc_http_setup, member)

static const sc_setting rows[] = {
    {"OPENAI_BASE_URL", SC_SETTING_TEXT, FIELD(openai.base_url), 1, 2048, "https://api.openai.com", "",
     NULL, "Any OpenAI-compatible server, with or without /v1 at the end."},
    {"OPENAI_API_KEY", SC_SETTING_SECRET, FIELD(openai.api_key), 0, 4095, NULL, "", NULL,
     "Key for OPENAI_BASE_URL."},
    {"UPSTREAM_CONNECTIONS_MAX", SC_SETTING_INT, FIELD(loop.connections_max), 1, 65536, "1024", "", NULL,
     "Connections to all upstreams together."},
    {"UPSTREAM_CONNECT_TIMEOUT_MS", SC_SETTING_INT, FIELD(loop.connect_timeout_ms), 1, 600000, "5000",
     "ms", NULL, "Longest wait for a connection to an upstream, TLS included."},
    {"UPSTREAM_CA_FILE", SC_SETTING_TEXT, FIELD(loop.ca_file), 1, 4095, NULL, "", NULL,
     "PEM file of the authorities that upstream certificates are checked against, instead of the "
     "system's."},
    {"UPSTREAM_PROXY", SC_SETTING_TEXT, FIELD(loop.proxy), 1, 2048, NULL, "", NULL,
     "Proxy for upstreams; HTTP_PROXY and its like are ignored."},
};

const sc_setting_table sc_http_settings = {
    .title = "Upstreams",
    .rows = rows,
    .count = sizeof rows / sizeof rows[0],
};
