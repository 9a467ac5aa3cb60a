/* The threshold sweep. One look-up per question is enough: with a max_distance of 2 the nearest
 * stored question answers, and says how far away it is; a threshold only cuts that list. */
#include <stdio.h>
#include <stdlib.h>

#include "client/cli/cli.h"

enum { QUESTIONS_MAX = 1000, THRESHOLDS_MAX = 200, QUESTION_COLUMNS = 44 };

typedef struct {
    char  *text;
    char  *matched; /* NULL: nothing stored */
    double distance;
} question;

static size_t questions_read(const char *path, question *questions, sc_error *error)
{
    char  *line = NULL;
    size_t room = 0, count = 0;
    FILE  *file = fopen(path, "re");

    if (file == NULL) {
        sc_fail(error, SC_INVALID, "tune: cannot read %s", path);
        return 0;
    }
    while (count < QUESTIONS_MAX && getline(&line, &room, file) > 0) {
        line[strcspn(line, "\r\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#')
            continue;
        questions[count].text = strdup(line);
        if (questions[count].text == NULL)
            break;
        count++;
    }
    free(line);
    fclose(file);
    if (count == 0)
        sc_fail(error, SC_INVALID, "tune: no question in %s", path);
    return count;
}

static bool look_up(cli *c, question *q, sc_error *error)
{
    answer_request request;

    if (!cli_request_fill(&c->options, &request, error))
        return false;
    request.user_prompt = q->text;
    request.cache_mode = SEMCACHE__V1__CACHE_MODE__CACHE_MODE_ONLY_IF_CACHED;
    request.optional_max_distance_case =
        SEMCACHE__V1__ANSWER_REQUEST__OPTIONAL_MAX_DISTANCE_MAX_DISTANCE;
    request.max_distance = 2;
    answer_response *r = cli_answer(c, &request, NULL, error);
    if (r == NULL)
        return error->status == SC_NOT_FOUND;
    q->distance = r->distance;
    q->matched = strdup(r->matched_prompt);
    semcache__v1__answer_response__free_unpacked(r, NULL);
    return true;
}

static void put_row(sc_buf *out, const question *q)
{
    sc_buf_printf(out, "            %.3f  ", q->distance);
    cli_cell(out, q->text, QUESTION_COLUMNS);
    sc_buf_printf(out, "  →  ");
    cli_cell(out, q->matched, QUESTION_COLUMNS);
    sc_buf_byte(out, '\n');
}

/* Each threshold with the hits that the one before did not have. */
static void put_sweep(sc_buf *out, const cli_options *o, const question *questions, size_t count)
{
    double before = -1;

    sc_buf_printf(out, "threshold   hits\n");
    for (int i = 0; i < THRESHOLDS_MAX; i++) {
        double threshold = o->from + i * o->step;
        size_t hits = 0;
        if (threshold > o->to + o->step / 1000)
            break;
        for (size_t q = 0; q < count; q++)
            hits += questions[q].matched != NULL && questions[q].distance < threshold;
        sc_buf_printf(out, "   %.3f    %4zu of %zu\n", threshold, hits, count);
        for (size_t q = 0; q < count; q++)
            if (questions[q].matched != NULL && questions[q].distance < threshold &&
                questions[q].distance >= before)
                put_row(out, &questions[q]);
        before = threshold;
    }
    sc_buf_printf(out, "beyond\n");
    for (size_t q = 0; q < count; q++)
        if (questions[q].matched != NULL && questions[q].distance >= before)
            put_row(out, &questions[q]);
}

int cli_run_tune(cli *c)
{
    sc_error  error = {0};
    sc_buf    out;
    bool      ok = false;
    question *questions = calloc(QUESTIONS_MAX, sizeof *questions);
    size_t    count = 0;

    if (questions == NULL)
        sc_fail(&error, SC_NO_MEMORY, "no memory");
    else if (c->options.words_count != 1)
        sc_fail(&error, SC_INVALID, "tune: name one file with a question per line");
    else
        count = questions_read(c->options.words[0], questions, &error);
    for (size_t i = 0; i < count; i++) {
        ok = look_up(c, &questions[i], &error);
        if (!ok)
            break;
    }
    if (ok) {
        sc_buf_init(&out, 4 << 20);
        put_sweep(&out, &c->options, questions, count);
        cli_print(&out);
        sc_buf_fini(&out);
    }
    for (size_t i = 0; i < count; i++) {
        free(questions[i].text);
        free(questions[i].matched);
    }
    free(questions);
    return ok ? 0 : cli_fail(&error);
}
