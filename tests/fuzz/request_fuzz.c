/* Bytes from a caller: the check before unpacking, the unpacking, and the question that is made of them.
 * The first byte chooses the message. What is accepted must be within the bounds that the pipeline,
 * Redis and the LLM rely on. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "server/rpc/question.h"
#include "server/rpc/wire.h"
#include "src/text/json.h"
#include "src/text/utf8.h"
#include "tests/support/pipeline_rig.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ARENA_BYTES_MAX = 1 << 20, PROMPT_BYTES_MAX = 4096 };

static const sc_question_limits limits = {.prompt_bytes_max = PROMPT_BYTES_MAX,
                                          .context_bytes_max = 16384,
                                          .ttl_seconds_max = 86400,
                                          .stale_seconds_max = 3600};

/* It is never asked: the question only reads its defaults. */
static sc_pipeline *defaults(void)
{
    static rig here;
    if (here.pipeline == NULL)
        rig_open(&here, NULL);
    return here.pipeline;
}

static void expect_text(sc_str text, size_t bytes_max)
{
    if (text.len > bytes_max || memchr(text.ptr, '\0', text.len) != NULL || !sc_utf8_valid(text, NULL))
        abort();
}

static void expect_within_bounds(const sc_question *question)
{
    expect_text(question->user_prompt, PROMPT_BYTES_MAX);
    expect_text(question->scope.model, SC_NAME_BYTES_MAX);
    expect_text(question->scope.corpus_version, SC_NAME_BYTES_MAX);
    if (question->user_prompt.len == 0 || !(question->max_distance >= 0 && question->max_distance <= 2) ||
        question->top_k < 1 || question->top_k > SC_TOP_K_MAX || question->ttl_seconds < 1 ||
        question->ttl_seconds > limits.ttl_seconds_max || !isfinite(question->scope.temperature) ||
        question->scope.turns_count > SC_TURNS_MAX || question->scope.params_count > SC_PARAMS_MAX + 8 ||
        question->tags_count > SC_ENTRY_TAGS_MAX || question->mode >= SC_MODE_COUNT)
        abort();
    for (size_t i = 0; i < question->scope.params_count; i++)
        if (!sc_json_valid(question->scope.params[i].json))
            abort();
}

static void as_question(sc_str bytes, sc_arena *arena)
{
    const Semcache__V1__AnswerRequest *message = NULL;
    sc_service  service = {.pipeline = defaults(), .chat_model = "gpt-4o-mini", .ef_runtime = 50};
    sc_pass     pass = {.tenant = SC_STR("tenant"), .limits = {.distance_max = 2}};
    sc_question question;
    sc_error    error = {.status = SC_OK};
    if (sc_message_unpack(&semcache__v1__answer_request__descriptor, bytes, arena, &message, &error) == SC_OK &&
        sc_question_from(&service, message, &pass, arena, &question, &error) == SC_OK &&
        sc_question_check(&question, &limits, &error) == SC_OK)
        expect_within_bounds(&question);
    if (memchr(error.text, '\0', sizeof error.text) == NULL)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_arena          arena;
    sc_error          error = {.status = SC_OK};
    ProtobufCMessage *message = NULL;
    if (size == 0)
        return 0;
    /* Exact, so that a read beyond the message is seen. */
    char  *copy = malloc(size);
    sc_str bytes = {copy, size - 1};
    if (copy == NULL)
        abort();
    memcpy(copy, data + 1, size - 1);
    sc_arena_init(&arena, ARENA_BYTES_MAX);
    if (data[0] % 4 != 0) {
        as_question(bytes, &arena);
    } else {
        sc_status status = sc_message_unpack(&semcache__v1__invalidate_request__descriptor, bytes, &arena,
                                             &message, &error);
        if ((status == SC_OK) != (message != NULL))
            abort();
    }
    sc_arena_fini(&arena);
    free(copy);
    return 0;
}
