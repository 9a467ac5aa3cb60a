#include "client/lib/client.h"

#include <assert.h>
#include <errno.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "src/base/buf.h"
#include "src/base/thread.h"

enum { REPLY_BYTES_MAX_DEFAULT = 64 << 20, PEM_BYTES_MAX = 1 << 20, TOKEN_BYTES_MAX = 4096 };

/* TSan does not see the core's queues: what passes through a tag is told to it here. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *address);
void __tsan_release(void *address);
#define TAG_GIVEN(tag) __tsan_release(tag)
#define TAG_TAKEN(tag) __tsan_acquire(tag)
#else
#define TAG_GIVEN(tag) ((void)(tag))
#define TAG_TAKEN(tag) ((void)(tag))
#endif

struct sc_client {
    /* Fixed by open. */
    grpc_channel          *channel;
    grpc_completion_queue *queue;
    pthread_t              thread;
    bool                   threaded;
    char                  *authorization; /* "Bearer ...", or NULL */

    _Atomic int64_t under_way;
};

struct sc_client_call {
    /* Fixed by open. */
    sc_client *client;
    grpc_slice path;
    void (*done)(sc_client_call *call, void *context);
    void *context;

    pthread_mutex_t lock;
    grpc_call      *core; /* changed under lock, so that cancel meets a call or none */

    /* Written by start; then the core's until the event; then done's. */
    grpc_metadata_array header, trailer;
    grpc_byte_buffer   *message;
    grpc_status_code    code;
    grpc_slice          details;
    const char         *error_string;
    grpc_slice          flat; /* of the last message */
    sc_client_reply     reply;
};

/* ---- a call ---- */

sc_status sc_client_call_open(sc_client *client, const char *path,
                              void (*done)(sc_client_call *call, void *context), void *context,
                              sc_client_call **out)
{
    sc_client_call *call = calloc(1, sizeof *call);
    *out = call;
    if (call == NULL)
        return SC_NO_MEMORY;
    call->client = client;
    call->path = grpc_slice_from_copied_string(path);
    call->flat = grpc_empty_slice();
    call->done = done;
    call->context = context;
    pthread_mutex_init(&call->lock, NULL);
    grpc_metadata_array_init(&call->header);
    grpc_metadata_array_init(&call->trailer);
    return SC_OK;
}

void sc_client_call_close(sc_client_call *call)
{
    if (call == NULL)
        return;
    assert(call->core == NULL);
    grpc_slice_unref(call->path);
    grpc_slice_unref(call->flat);
    grpc_metadata_array_destroy(&call->header);
    grpc_metadata_array_destroy(&call->trailer);
    pthread_mutex_destroy(&call->lock);
    free(call);
}

const sc_client_reply *sc_client_call_reply(const sc_client_call *call)
{
    return &call->reply;
}

static gpr_timespec timespec_of(sc_instant at)
{
    if (at.ns == SC_INSTANT_NEVER.ns)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return (gpr_timespec){at.ns / 1000000000, (int32_t)(at.ns % 1000000000), GPR_CLOCK_MONOTONIC};
}

static grpc_byte_buffer *buffer_of(sc_str bytes)
{
    grpc_slice        slice = grpc_slice_from_copied_buffer(bytes.ptr, bytes.len);
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static size_t header_of(const sc_client *client, grpc_metadata *out)
{
    if (client->authorization == NULL)
        return 0;
    memset(out, 0, sizeof *out);
    out->key = grpc_slice_from_static_string("authorization");
    out->value = grpc_slice_from_static_string(client->authorization);
    return 1;
}

/* Gives what was there before. */
static grpc_call *core_set(sc_client_call *call, grpc_call *core)
{
    pthread_mutex_lock(&call->lock);
    grpc_call *before = call->core;
    call->core = core;
    pthread_mutex_unlock(&call->lock);
    return before;
}

void sc_client_call_start(sc_client_call *call, sc_str request, sc_instant deadline, bool wait)
{
    grpc_op           ops[6];
    grpc_metadata     header;
    grpc_byte_buffer *message = buffer_of(request);

    assert(call->core == NULL);
    atomic_fetch_add_explicit(&call->client->under_way, 1, memory_order_relaxed);
    grpc_call *core = grpc_channel_create_call(call->client->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
                                               call->client->queue, call->path, NULL,
                                               timespec_of(deadline), NULL);
    core_set(call, core);
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = wait ? GRPC_INITIAL_METADATA_WAIT_FOR_READY |
                              GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET
                        : 0;
    ops[0].data.send_initial_metadata.count = header_of(call->client, &header);
    ops[0].data.send_initial_metadata.metadata = &header;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = message;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->header;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &call->message;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailer;
    ops[5].data.recv_status_on_client.status = &call->code;
    ops[5].data.recv_status_on_client.status_details = &call->details;
    ops[5].data.recv_status_on_client.error_string = &call->error_string;
    TAG_GIVEN(call);
    grpc_call_error error = grpc_call_start_batch(core, ops, 6, call, NULL);
    assert(error == GRPC_CALL_OK);
    (void)error;
    grpc_byte_buffer_destroy(message);
}

void sc_client_call_cancel(sc_client_call *call)
{
    pthread_mutex_lock(&call->lock);
    if (call->core != NULL)
        grpc_call_cancel(call->core, NULL);
    pthread_mutex_unlock(&call->lock);
}

static sc_str view(const grpc_slice *slice)
{
    return (sc_str){(const char *)GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice)};
}

static int64_t retry_after_of(const grpc_metadata_array *trailer)
{
    char digits[24];
    for (size_t i = 0; i < trailer->count; i++) {
        sc_str value = view(&trailer->metadata[i].value);
        if (!sc_str_equal(view(&trailer->metadata[i].key), SC_STR("retry-after-ms")) ||
            value.len >= sizeof digits)
            continue;
        memcpy(digits, value.ptr, value.len);
        digits[value.len] = '\0';
        return strtoll(digits, NULL, 10);
    }
    return 0;
}

static void reply_fill(sc_client_call *call)
{
    sc_str text = view(&call->details);

    grpc_slice_unref(call->flat);
    call->flat = grpc_empty_slice();
    if (call->message != NULL) {
        grpc_byte_buffer_reader reader;
        if (grpc_byte_buffer_reader_init(&reader, call->message)) {
            call->flat = grpc_byte_buffer_reader_readall(&reader);
            grpc_byte_buffer_reader_destroy(&reader);
        }
        grpc_byte_buffer_destroy(call->message);
        call->message = NULL;
    } else if (call->code == GRPC_STATUS_OK) {
        call->code = GRPC_STATUS_INTERNAL;
        text = SC_STR("no message in the reply");
    }
    call->reply.code = (int)call->code;
    call->reply.message = view(&call->flat);
    call->reply.retry_after_ms = retry_after_of(&call->trailer);
    snprintf(call->reply.text, sizeof call->reply.text, "%.*s", (int)text.len, text.ptr);
}

static void call_done(sc_client_call *call)
{
    sc_client *client = call->client;

    reply_fill(call);
    grpc_slice_unref(call->details);
    gpr_free((void *)(uintptr_t)call->error_string);
    call->error_string = NULL;
    call->header.count = call->trailer.count = 0;
    grpc_call_unref(core_set(call, NULL));
    call->done(call, call->context);
    atomic_fetch_sub_explicit(&client->under_way, 1, memory_order_release);
}

static void *client_run(void *argument)
{
    sc_client *client = argument;

    sc_thread_name("sc-client");
    for (;;) {
        grpc_event event = grpc_completion_queue_next(
            client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        TAG_TAKEN(event.tag);
        call_done(event.tag);
    }
}

/* ---- the client ---- */

/* NUL-terminated content; *out stays NULL for no path. */
static sc_status pem_read(const char *path, char **out, sc_error *error)
{
    sc_buf buf;
    char   chunk[4096];
    size_t got;

    *out = NULL;
    if (path == NULL)
        return SC_OK;
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return sc_fail(error, SC_INVALID, "%s: %s", path, strerror(errno));
    sc_buf_init(&buf, PEM_BYTES_MAX);
    while ((got = fread(chunk, 1, sizeof chunk, file)) != 0)
        sc_buf_append(&buf, chunk, got);
    fclose(file);
    sc_status status = buf.failed;
    if (status == SC_OK)
        *out = sc_buf_take(&buf, &got);
    sc_buf_fini(&buf);
    return status == SC_OK ? SC_OK : sc_fail(error, SC_INVALID, "%s: too large", path);
}

static grpc_channel_credentials *credentials_of(const sc_client_options *options, sc_error *error)
{
    char                     *ca = NULL, *cert = NULL, *key = NULL;
    grpc_channel_credentials *credentials = NULL;

    if (!options->tls)
        return grpc_insecure_credentials_create();
    if (pem_read(options->ca_file, &ca, error) == SC_OK &&
        pem_read(options->cert_file, &cert, error) == SC_OK &&
        pem_read(options->key_file, &key, error) == SC_OK) {
        grpc_ssl_pem_key_cert_pair pair = {key, cert};
        credentials = grpc_ssl_credentials_create(ca, cert != NULL && key != NULL ? &pair : NULL,
                                                  NULL, NULL);
    }
    if (key != NULL)
        explicit_bzero(key, strlen(key));
    free(ca);
    free(cert);
    free(key);
    return credentials;
}

static grpc_arg arg_int(const char *key, int value)
{
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)(uintptr_t)key};
    arg.value.integer = value;
    return arg;
}

static grpc_channel *channel_make(const sc_client_options *options,
                                  grpc_channel_credentials *credentials)
{
    size_t reply_max =
        options->reply_bytes_max != 0 ? options->reply_bytes_max : REPLY_BYTES_MAX_DEFAULT;
    grpc_arg args[] = {
        /* Or equal channels would share one connection. */
        arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),
        arg_int(GRPC_ARG_ENABLE_RETRIES, 0),
        arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        arg_int(GRPC_ARG_ENABLE_CHANNELZ, 0),
        arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100),
        /* The time that one attempt to connect is given, whatever its name says. */
        arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000),
        arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000),
        arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, (int)reply_max),
        {.type = GRPC_ARG_STRING, .key = (char *)(uintptr_t)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG},
    };
    size_t count = sizeof args / sizeof args[0];
    args[count - 1].value.string = (char *)(uintptr_t)options->server_name;
    if (options->server_name == NULL)
        count--;
    return grpc_channel_create(options->target, credentials, &(grpc_channel_args){count, args});
}

static sc_status authorization_set(sc_client *client, const char *token, sc_error *error)
{
    if (token == NULL || *token == '\0')
        return SC_OK;
    if (strlen(token) > TOKEN_BYTES_MAX)
        return sc_fail(error, SC_INVALID, "token: over %d bytes", TOKEN_BYTES_MAX);
    if (asprintf(&client->authorization, "Bearer %s", token) < 0) {
        client->authorization = NULL;
        return sc_fail(error, SC_NO_MEMORY, "no memory for the token");
    }
    if (!grpc_header_nonbin_value_is_legal(grpc_slice_from_static_string(client->authorization)))
        return sc_fail(error, SC_INVALID, "token: not printable ASCII");
    return SC_OK;
}

sc_status sc_client_open(const sc_client_options *options, sc_client **out, sc_error *error)
{
    sc_client *client = calloc(1, sizeof *client);
    *out = NULL;
    if (client == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for a client");
    gpr_set_log_verbosity(GPR_LOG_SEVERITY_ERROR);
    grpc_init();
    client->queue = grpc_completion_queue_create_for_next(NULL);
    sc_status status = authorization_set(client, options->token, error);
    if (status != SC_OK)
        goto out;
    grpc_channel_credentials *credentials = credentials_of(options, error);
    if (credentials == NULL) {
        status = SC_INVALID;
        goto out;
    }
    client->channel = channel_make(options, credentials);
    grpc_channel_credentials_release(credentials);
    client->threaded = pthread_create(&client->thread, NULL, client_run, client) == 0;
    if (!client->threaded)
        status = sc_fail(error, SC_UNAVAILABLE, "no thread for a client");
out:
    if (status != SC_OK) {
        sc_client_close(client);
        client = NULL;
    }
    *out = client;
    return status;
}

void sc_client_close(sc_client *client)
{
    if (client == NULL)
        return;
    while (atomic_load_explicit(&client->under_way, memory_order_acquire) != 0)
        nanosleep(&(struct timespec){0, 1000000}, NULL);
    if (client->channel != NULL)
        grpc_channel_destroy(client->channel);
    grpc_completion_queue_shutdown(client->queue);
    if (client->threaded)
        pthread_join(client->thread, NULL);
    else
        client_run(client);
    grpc_completion_queue_destroy(client->queue);
    if (client->authorization != NULL)
        explicit_bzero(client->authorization, strlen(client->authorization));
    free(client->authorization);
    free(client);
    grpc_shutdown();
}

/* ---- one call, waited for ---- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t  came;
    bool            done;
} waiter;

static void ask_done(sc_client_call *call, void *context)
{
    waiter *wait = context;
    (void)call;
    pthread_mutex_lock(&wait->lock);
    wait->done = true;
    pthread_cond_signal(&wait->came);
    pthread_mutex_unlock(&wait->lock);
}

static sc_status ask_result(const sc_client_reply *reply, char **message, size_t *len,
                            sc_error *error)
{
    if (reply->code != 0)
        return sc_fail(error, sc_client_code_status(reply->code), "%s: %s",
                       sc_client_code_name(reply->code), reply->text);
    *message = malloc(reply->message.len + 1);
    if (*message == NULL)
        return sc_fail(error, SC_NO_MEMORY, "no memory for the reply");
    memcpy(*message, reply->message.ptr, reply->message.len);
    (*message)[reply->message.len] = '\0';
    *len = reply->message.len;
    return SC_OK;
}

sc_status sc_client_ask(sc_client *client, const char *path, sc_str request, int64_t timeout_ms,
                        char **message, size_t *len, int64_t *retry_after_ms, sc_error *error)
{
    waiter          wait = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false};
    sc_client_call *call;

    *message = NULL;
    *len = 0;
    sc_status status = sc_client_call_open(client, path, ask_done, &wait, &call);
    if (status != SC_OK)
        return sc_fail(error, status, "no memory for a call");
    sc_client_call_start(call, request, sc_instant_after_ms(sc_now(), timeout_ms), false);
    pthread_mutex_lock(&wait.lock);
    while (!wait.done)
        pthread_cond_wait(&wait.came, &wait.lock);
    pthread_mutex_unlock(&wait.lock);
    status = ask_result(&call->reply, message, len, error);
    if (retry_after_ms != NULL)
        *retry_after_ms = call->reply.retry_after_ms;
    sc_client_call_close(call);
    return status;
}
