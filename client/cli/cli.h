/* cli.h - what the commands of `semcache` share. Each command is a file and a function. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/lib/client.h"
#include "proto/semcache/v1/semantic_cache.pb-c.h"
#include "src/base/buf.h"
#include "src/base/status.h"

enum { CLI_LIST_MAX = 64 };

typedef Semcache__V1__AnswerRequest      answer_request;
typedef Semcache__V1__AnswerResponse     answer_response;
typedef Semcache__V1__StatsResponse      stats_response;
typedef Semcache__V1__InvalidateRequest  invalidate_request;
typedef Semcache__V1__InvalidateResponse invalidate_response;

typedef struct {
    char  *items[CLI_LIST_MAX];
    size_t count;
} cli_list;

typedef struct {
    sc_client_options client;
    int64_t           timeout_ms;
    bool              json;

    /* Fields of a question; NULL and false: not given. */
    char *system, *model, *corpus_version, *mode;
    bool  has_temperature, has_max_distance, has_top_k, has_ttl;
    double   temperature, max_distance;
    int64_t  top_k, ttl;
    cli_list tags;

    /* invalidate */
    cli_list ids;
    char    *exact, *meaning;
    bool     has_older_than, all, dry_run;
    int64_t  older_than;

    /* tune */
    double from, to, step;

    char *const *words; /* [words_count], after the command */
    size_t       words_count;
} cli_options;

typedef struct {
    cli_options options;
    sc_client  *client;
} cli;

/* options.c: fills *options. Returns the command, NULL after printing what is wrong (exit 2), or ""
 * after printing help (exit 0). */
const char *cli_options_read(int argc, char **argv, cli_options *options);
void        cli_options_free(cli_options *options);

/* calls.c: packs, asks, unpacks. NULL with *error on failure; what is given is freed with the
 * generated _free_unpacked. *elapsed_us may be NULL. */
answer_response     *cli_answer(cli *c, const answer_request *request, int64_t *elapsed_us,
                                sc_error *error);
stats_response      *cli_stats(cli *c, sc_error *error);
invalidate_response *cli_invalidate(cli *c, const invalidate_request *request, sc_error *error);

/* calls.c: a request with the options' fields. False with *error for a mode that is none. */
bool        cli_request_fill(const cli_options *options, answer_request *request, sc_error *error);
const char *cli_source_name(const answer_response *response); /* "EXACT" */
const char *cli_reason_name(int reason);                      /* "TOO_FAR" */

/* table.c: text in `width` columns, cut with an ellipsis, blanks added; control characters shown
 * as blanks. */
void cli_cell(sc_buf *out, const char *text, size_t width);
void cli_line(sc_buf *out, const char *text); /* all of it, on one line */
void cli_rule(sc_buf *out, size_t width);
void cli_print(sc_buf *out); /* to standard output; empties out */

/* json.c: any message as JSON, by its descriptor; enums by name, 64-bit numbers as numbers. */
void cli_json(sc_buf *out, const ProtobufCMessage *message);

/* The commands give the exit code. */
int cli_run_answer(cli *c);
int cli_run_stats(cli *c);
int cli_run_invalidate(cli *c);
int cli_run_look(cli *c);
int cli_run_tune(cli *c);
int cli_run_demo(cli *c);

/* Says why, and gives exit code 1. */
int cli_fail(const sc_error *error);

/* stats.c: the part that a person wants to see after the demo. */
void cli_stats_short(sc_buf *out, const stats_response *stats);
