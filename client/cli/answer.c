#include <stdio.h>
#include <stdlib.h>

#include "client/cli/cli.h"

enum { PROMPT_BYTES_MAX = 1 << 20 };

static void read_stdin(sc_buf *prompt)
{
    char   chunk[4096];
    size_t got;
    while ((got = fread(chunk, 1, sizeof chunk, stdin)) != 0)
        sc_buf_append(prompt, chunk, got);
    while (prompt->len != 0 && prompt->data[prompt->len - 1] == '\n')
        prompt->data[--prompt->len] = '\0';
}

static void gather(const cli_options *o, sc_buf *prompt)
{
    if (o->words_count == 1 && strcmp(o->words[0], "-") == 0) {
        read_stdin(prompt);
        return;
    }
    for (size_t i = 0; i < o->words_count; i++)
        sc_buf_printf(prompt, "%s%s", i != 0 ? " " : "", o->words[i]);
}

/* To standard error, so that the answer can go through a pipe. */
static void tell_how(const answer_response *r, int64_t elapsed_us)
{
    sc_buf out;

    sc_buf_init(&out, 1 << 20);
    sc_buf_printf(&out, "\n%s in %.1f ms", cli_source_name(r), (double)elapsed_us / 1000);
    if (r->decision == SEMCACHE__V1__DECISION__DECISION_HIT) {
        sc_buf_printf(&out, ", distance %.3f, from: ", r->distance);
        cli_line(&out, r->matched_prompt);
    } else if (r->nearest != NULL) {
        sc_buf_printf(&out, ", %s, nearest %.3f away: ", cli_reason_name((int)r->reason),
                      r->nearest->distance);
        cli_line(&out, r->nearest->prompt);
    }
    if (r->tokens_saved != 0)
        sc_buf_printf(&out, " (%u tokens saved)", r->tokens_saved);
    if (out.failed == SC_OK)
        fprintf(stderr, "%s\n", out.data);
    sc_buf_fini(&out);
}

int cli_run_answer(cli *c)
{
    sc_buf         prompt, out;
    answer_request request;
    sc_error       error = {0};
    int64_t        elapsed_us = 0;
    int            code = 0;

    sc_buf_init(&prompt, PROMPT_BYTES_MAX);
    sc_buf_init(&out, 64 << 20);
    gather(&c->options, &prompt);
    answer_response *r = NULL;
    if (prompt.failed != SC_OK || prompt.len == 0)
        sc_fail(&error, SC_INVALID, "answer: no question, or one over %d bytes", PROMPT_BYTES_MAX);
    else if (cli_request_fill(&c->options, &request, &error)) {
        request.user_prompt = prompt.data;
        r = cli_answer(c, &request, &elapsed_us, &error);
    }
    if (r == NULL) {
        code = cli_fail(&error);
    } else if (c->options.json) {
        cli_json(&out, &r->base);
        sc_buf_byte(&out, '\n');
        cli_print(&out);
    } else {
        printf("%s\n", r->answer);
        fflush(stdout);
        tell_how(r, elapsed_us);
    }
    if (r != NULL)
        semcache__v1__answer_response__free_unpacked(r, NULL);
    sc_buf_fini(&prompt);
    sc_buf_fini(&out);
    return code;
}
