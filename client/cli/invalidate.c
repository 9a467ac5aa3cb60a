#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "client/cli/cli.h"

enum { PROMPT_COLUMNS = 52, MODEL_COLUMNS = 20 };

/* Parts of a request that must live as long as it. */
typedef struct {
    answer_request             question;
    Semcache__V1__ExactPrompt  exact;
    Semcache__V1__Meaning      meaning;
    invalidate_request         request;
} criteria;

static bool meaning_fill(const cli_options *o, criteria *k, sc_error *error)
{
    if (o->meaning == NULL)
        return true;
    if (!o->has_max_distance) {
        sc_fail(error, SC_INVALID, "--meaning needs --max-distance");
        return false;
    }
    semcache__v1__meaning__init(&k->meaning);
    k->meaning.prompt = o->meaning;
    k->meaning.max_distance = o->max_distance;
    k->request.meaning = &k->meaning;
    return true;
}

/* With --exact, model, corpus version and system prompt say which question is meant; without, they
 * are criteria of their own. */
static bool exact_fill(const cli_options *o, criteria *k, sc_error *error)
{
    if (!cli_request_fill(o, &k->question, error))
        return false;
    k->question.user_prompt = o->exact;
    k->question.n_tags = 0;
    semcache__v1__exact_prompt__init(&k->exact);
    k->exact.question = &k->question;
    k->request.exact = &k->exact;
    return true;
}

static void scope_fill(const cli_options *o, criteria *k)
{
    if (o->model != NULL)
        k->request.model = o->model;
    if (o->corpus_version != NULL)
        k->request.corpus_version = o->corpus_version;
    if (o->system != NULL) {
        k->request.optional_system_prompt_case =
            SEMCACHE__V1__INVALIDATE_REQUEST__OPTIONAL_SYSTEM_PROMPT_SYSTEM_PROMPT;
        k->request.system_prompt = o->system;
    }
}

static bool criteria_fill(const cli_options *o, criteria *k, sc_error *error)
{
    semcache__v1__invalidate_request__init(&k->request);
    k->request.entry_ids = (char **)(uintptr_t)o->ids.items;
    k->request.n_entry_ids = o->ids.count;
    k->request.tags = (char **)(uintptr_t)o->tags.items;
    k->request.n_tags = o->tags.count;
    k->request.all = o->all;
    k->request.dry_run = o->dry_run;
    if (o->has_older_than) {
        k->request.optional_older_than_seconds_case =
            SEMCACHE__V1__INVALIDATE_REQUEST__OPTIONAL_OLDER_THAN_SECONDS_OLDER_THAN_SECONDS;
        k->request.older_than_seconds = o->older_than;
    }
    if (o->exact == NULL)
        scope_fill(o, k);
    else if (!exact_fill(o, k, error))
        return false;
    return meaning_fill(o, k, error);
}

static void put_time(sc_buf *out, int64_t ms)
{
    time_t    seconds = ms / 1000;
    struct tm parts;
    char      text[32] = "";
    if (gmtime_r(&seconds, &parts) != NULL)
        strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &parts);
    sc_buf_printf(out, "%-19s  ", text);
}

static void put_entries(sc_buf *out, const invalidate_response *r)
{
    if (r->n_examples == 0)
        return;
    cli_cell(out, "question", PROMPT_COLUMNS);
    sc_buf_printf(out, "  ");
    cli_cell(out, "model", MODEL_COLUMNS);
    sc_buf_printf(out, "  distance  created (UTC)        expires (UTC)        id\n");
    for (size_t i = 0; i < r->n_examples; i++) {
        const Semcache__V1__EntrySummary *e = r->examples[i];
        cli_cell(out, e->prompt, PROMPT_COLUMNS);
        sc_buf_printf(out, "  ");
        cli_cell(out, e->model, MODEL_COLUMNS);
        sc_buf_printf(out, "  %8.3f  ", e->distance);
        put_time(out, e->created_at_ms);
        put_time(out, e->expires_at_ms);
        sc_buf_printf(out, "%.16s\n", e->entry_id);
    }
}

static int run(cli *c, const cli_options *o, const char *verb)
{
    criteria             k;
    sc_error             error = {0};
    sc_buf               out;
    invalidate_response *r = NULL;

    if (criteria_fill(o, &k, &error))
        r = cli_invalidate(c, &k.request, &error);
    if (r == NULL)
        return cli_fail(&error);
    sc_buf_init(&out, 1 << 20);
    if (o->json) {
        cli_json(&out, &r->base);
        sc_buf_byte(&out, '\n');
    } else {
        put_entries(&out, r);
        sc_buf_printf(&out, "%" PRIu64 " %s\n", r->removed, verb);
    }
    cli_print(&out);
    sc_buf_fini(&out);
    semcache__v1__invalidate_response__free_unpacked(r, NULL);
    return 0;
}

int cli_run_invalidate(cli *c)
{
    return run(c, &c->options, c->options.dry_run ? "would be removed" : "removed");
}

/* A dry run shows what is there without changing it. */
int cli_run_look(cli *c)
{
    cli_options o = c->options;
    o.dry_run = true;
    if (o.ids.count == 0 && o.exact == NULL && o.meaning == NULL && o.model == NULL &&
        o.corpus_version == NULL && o.system == NULL && o.tags.count == 0 && !o.has_older_than)
        o.all = true;
    return run(c, &o, "entries");
}
