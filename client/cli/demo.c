/* A first look: three questions, the same three again, five in other words. */
#include <stdio.h>

#include "client/cli/cli.h"

enum { QUESTION_COLUMNS = 40, MATCH_COLUMNS = 44, LINE_COLUMNS = 119, SEEDS = 3 };

static const char *const seeds[SEEDS] = {
    "What is our refund policy?",
    "How long is the return window?",
    "Do you ship internationally?",
};

static const struct {
    const char *text;
    int         seed; /* the question it must be answered from, if it is answered from the cache */
} paraphrases[] = {
    {"Tell me about the refund policy", 0},
    {"How do refunds work here?", 0},
    {"What is the length of the return window?", 1},
    {"Do you deliver to other countries?", 2},
    {"For how many days can I return stuff?", 1},
};

/* Suits the built-in encoder: above its paraphrases, below its other questions. */
static const double demo_max_distance = 0.40;

typedef struct {
    cli   *c;
    sc_buf out;
    int    wrong; /* answers that belong to another question */
} demo;

static void head(demo *d)
{
    cli_cell(&d->out, "question", QUESTION_COLUMNS);
    sc_buf_printf(&d->out, "  tier    distance  ");
    cli_cell(&d->out, "matched question", MATCH_COLUMNS);
    sc_buf_printf(&d->out, "         ms\n");
    cli_rule(&d->out, LINE_COLUMNS);
}

static void put_answer(demo *d, const char *text, const answer_response *r, int64_t elapsed_us)
{
    bool   hit = r->decision == SEMCACHE__V1__DECISION__DECISION_HIT;
    double distance = hit ? r->distance : r->nearest != NULL ? r->nearest->distance : 0;
    char   match[512] = "–";

    if (hit)
        snprintf(match, sizeof match, "%s", r->matched_prompt);
    else if (r->nearest != NULL)
        snprintf(match, sizeof match, "(too far: %s)", r->nearest->prompt);
    cli_cell(&d->out, text, QUESTION_COLUMNS);
    sc_buf_printf(&d->out, "  ");
    cli_cell(&d->out, cli_source_name(r), 6);
    if (hit || r->nearest != NULL)
        sc_buf_printf(&d->out, "  %8.3f  ", distance);
    else
        sc_buf_printf(&d->out, "         –  ");
    cli_cell(&d->out, match, MATCH_COLUMNS);
    sc_buf_printf(&d->out, "  %9.1f\n", (double)elapsed_us / 1000);
    cli_print(&d->out);
}

static bool ask(demo *d, const char *text, int seed, sc_error *error)
{
    answer_request request;
    int64_t        elapsed_us;

    if (!cli_request_fill(&d->c->options, &request, error))
        return false;
    request.user_prompt = (char *)(uintptr_t)text;
    if (!d->c->options.has_max_distance) {
        request.optional_max_distance_case =
            SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
        request.max_distance = demo_max_distance;
    }
    answer_response *r = cli_answer(d->c, &request, &elapsed_us, error);
    if (r == NULL)
        return false;
    put_answer(d, text, r, elapsed_us);
    if (r->decision == SEMCACHE__V1__DECISION__DECISION_HIT &&
        strcmp(r->matched_prompt, seeds[seed]) != 0 && strcmp(r->matched_prompt, text) != 0)
        d->wrong++;
    semcache__v1__answer_response__free_unpacked(r, NULL);
    return true;
}

static bool ask_seeds(demo *d, const char *title, sc_error *error)
{
    sc_buf_printf(&d->out, "\n%s\n", title);
    for (int i = 0; i < SEEDS; i++)
        if (!ask(d, seeds[i], i, error))
            return false;
    return true;
}

static bool ask_paraphrases(demo *d, sc_error *error)
{
    sc_buf_printf(&d->out, "\nIn other words\n");
    for (size_t i = 0; i < sizeof paraphrases / sizeof paraphrases[0]; i++)
        if (!ask(d, paraphrases[i].text, paraphrases[i].seed, error))
            return false;
    return true;
}

static bool statistics(demo *d, sc_error *error)
{
    stats_response *s = cli_stats(d->c, error);
    if (s == NULL)
        return false;
    cli_rule(&d->out, LINE_COLUMNS);
    sc_buf_printf(&d->out,
                  "max_distance %.2f: a stored answer is served when its question is nearer than "
                  "this.\n\nStatistics\n",
                  d->c->options.has_max_distance ? d->c->options.max_distance : demo_max_distance);
    cli_stats_short(&d->out, s);
    cli_print(&d->out);
    semcache__v1__stats_response__free_unpacked(s, NULL);
    return true;
}

int cli_run_demo(cli *c)
{
    demo     d = {.c = c};
    sc_error error = {0};

    sc_buf_init(&d.out, 1 << 20);
    head(&d);
    bool ok = ask_seeds(&d, "First asked", &error) && ask_seeds(&d, "The same again", &error) &&
              ask_paraphrases(&d, &error) && statistics(&d, &error);
    cli_print(&d.out);
    sc_buf_fini(&d.out);
    if (!ok)
        return cli_fail(&error);
    if (d.wrong != 0)
        fprintf(stderr, "semcache: %d answers belong to another question\n", d.wrong);
    return d.wrong != 0;
}
