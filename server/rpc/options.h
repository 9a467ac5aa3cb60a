/* options.h - what an operator may choose about the gRPC door. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "src/config/setting.h"

typedef struct {
    const char *listen;           /* "127.0.0.1:50051,[::1]:50051,unix:/run/x.sock"; port 0: any */
    bool        listen_insecure;  /* plain text on addresses that others can reach */
    const char *tls_cert_file;    /* PEM chain; with tls_key_file: TLS on every address */
    const char *tls_key_file;     /* PEM */
    const char *tls_client_ca_file; /* PEM; callers must then show a certificate of these */

    uint32_t threads;             /* completion queues, one thread each; 0: by the processors */
    uint32_t inflight_max;        /* calls */
    uint64_t inflight_bytes_max;  /* of their requests, and of large answers on their way; 0: any */
    uint32_t retry_after_ms;      /* the hint to a caller beyond these */
    uint32_t call_ms_max;         /* a call that lasts longer, unread answer included, is ended; 0: none is */
    uint32_t connections_max;     /* 0: as many as there are descriptors, less a reserve */
    uint32_t streams_max;         /* concurrent calls of one connection */
    uint32_t message_bytes_max;   /* received */
    uint32_t metadata_bytes_max;  /* received */
    uint32_t connection_age_ms;   /* a connection is then asked to come again; 0: never */

    bool     reflection;
    uint32_t lame_duck_ms;
    uint32_t grace_ms;
} sc_rpc_options;

extern const sc_setting_table sc_rpc_settings;
