#include "server/rpc/options.h"

#define FIELD(member) SC_SETTING_FIELD(sc_rpc_options, member)

static const sc_setting rows[] = {
    {"LISTEN", SC_SETTING_TEXT, FIELD(listen), 0, 0, "127.0.0.1:50051", "", NULL,
     "Addresses to serve gRPC on, with commas between: host:port, [ipv6]:port or unix:/path."},
    {"INSECURE_LISTEN", SC_SETTING_BOOL, FIELD(listen_insecure), 0, 0, "false", "", NULL,
     "Allows plain text on an address that other machines can reach."},
    {"TLS_CERT_FILE", SC_SETTING_TEXT, FIELD(tls_cert_file), 0, 0, NULL, "", NULL,
     "Certificate chain (PEM) of this server; read again when the file changes."},
    {"TLS_KEY_FILE", SC_SETTING_TEXT, FIELD(tls_key_file), 0, 0, NULL, "", NULL,
     "Private key (PEM) that belongs to TLS_CERT_FILE."},
    {"TLS_CLIENT_CA_FILE", SC_SETTING_TEXT, FIELD(tls_client_ca_file), 0, 0, NULL, "", NULL,
     "Certificate authorities (PEM): callers must show a certificate signed by one of them."},
    {"RPC_THREADS", SC_SETTING_INT, FIELD(threads), 0, 64, "0", "threads", NULL,
     "Threads that receive calls; 0: half the processors, 1 to 4."},
    {"RPC_INFLIGHT_MAX", SC_SETTING_INT, FIELD(inflight_max), 1, 1000000, "4096", "calls", NULL,
     "Calls under way; more are answered RESOURCE_EXHAUSTED at once."},
    {"RPC_INFLIGHT_BYTES_MAX", SC_SETTING_INT, FIELD(inflight_bytes_max), 65536, 1e12, "268435456",
     "bytes", NULL, "Requests under way and answers not read yet; beyond, new calls are answered as beyond RPC_INFLIGHT_MAX."},
    {"RPC_RETRY_AFTER_MS", SC_SETTING_INT, FIELD(retry_after_ms), 1, 60000, "100", "ms", NULL,
     "What a caller beyond RPC_INFLIGHT_MAX is told to wait before it tries again."},
    {"RPC_CALL_MS_MAX", SC_SETTING_INT, FIELD(call_ms_max), 1, 86400000, "300000", "ms", NULL,
     "A call that lasts longer is ended, also one whose caller does not read its answer."},
    {"RPC_CONNECTIONS_MAX", SC_SETTING_INT, FIELD(connections_max), 0, 1000000, "0", "connections",
     NULL, "Connections; more are closed at once. 0: what the descriptor limit allows."},
    {"RPC_STREAMS_MAX", SC_SETTING_INT, FIELD(streams_max), 1, 100000, "1000", "calls", NULL,
     "Calls under way on one connection; a client waits with more."},
    {"RPC_MESSAGE_BYTES_MAX", SC_SETTING_INT, FIELD(message_bytes_max), 1024, 67108864, "1048576",
     "bytes", NULL, "Size of a request; a larger one is answered RESOURCE_EXHAUSTED."},
    {"RPC_METADATA_BYTES_MAX", SC_SETTING_INT, FIELD(metadata_bytes_max), 1024, 1048576, "32768",
     "bytes", NULL, "Size of a request's metadata; a larger one costs the connection."},
    {"RPC_CONNECTION_AGE_MS", SC_SETTING_INT, FIELD(connection_age_ms), 0, 86400000, "1800000",
     "ms", NULL, "A connection this old is asked to reconnect, so that load spreads; 0: never."},
    {"REFLECTION", SC_SETTING_BOOL, FIELD(reflection), 0, 0, "true", "", NULL,
     "Serves gRPC reflection, by which tools such as grpcurl learn the methods."},
    {"LAME_DUCK_MS", SC_SETTING_INT, FIELD(lame_duck_ms), 0, 600000, "0", "ms", NULL,
     "On SIGTERM, how long to serve on while health says NOT_SERVING."},
    {"GRACE_MS", SC_SETTING_INT, FIELD(grace_ms), 0, 600000, "10000", "ms", NULL,
     "After that, how long calls under way may take to end."},
};

const sc_setting_table sc_rpc_settings = {"gRPC", rows, sizeof rows / sizeof rows[0]};
