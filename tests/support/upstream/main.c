/* upstream: the scripted upstream as a program. Prints one line with its URL, then serves until
 * SIGINT or SIGTERM. POST /control and GET /control/counters tell it and ask it (upstream.h). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/upstream/upstream.h"

static const char usage[] =
    "usage: upstream [--host 127.0.0.1] [--port 0] [--dim 1536] [--seed 0] [--script JSON] [--demo]\n"
    "  --port    0 takes a free one; the first line printed names it\n"
    "  --script  what POST /control takes: '{\"chat\": {\"delay_ms\": 20}}'\n"
    "  --demo    answers say that no LLM wrote them, and take 600 to 1200 ms\n";

static bool parse(int argc, char **argv, sc_upstream_options *options, const char **json)
{
    static const struct option names[] = {
        {"host", required_argument, NULL, 'h'}, {"port", required_argument, NULL, 'p'},
        {"dim", required_argument, NULL, 'd'},  {"seed", required_argument, NULL, 's'},
        {"script", required_argument, NULL, 'j'}, {"demo", no_argument, NULL, 'D'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == 'h')
            options->host = optarg;
        else if (option == 'p')
            options->port = atoi(optarg);
        else if (option == 'd')
            options->dim = (unsigned)strtoul(optarg, NULL, 10);
        else if (option == 's')
            options->seed = strtoull(optarg, NULL, 10);
        else if (option == 'j')
            *json = optarg;
        else if (option == 'D')
            options->demo = true;
        else
            return false;
    }
    return optind == argc;
}

int main(int argc, char **argv)
{
    sc_upstream_options options = {0};
    const char         *json = NULL;
    sigset_t            ends;
    int                 which = 0;
    if (!parse(argc, argv, &options, &json)) {
        fputs(usage, stderr);
        return 2;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    sc_upstream *upstream = sc_upstream_start(&options);
    if (upstream == NULL) {
        fprintf(stderr, "upstream: cannot listen on port %d\n", options.port);
        return 1;
    }
    if (json != NULL && !sc_upstream_control(upstream, json)) {
        fputs("upstream: --script is not a JSON object\n", stderr);
        sc_upstream_stop(upstream);
        return 2;
    }
    printf("%s\n", sc_upstream_url(upstream));
    fflush(stdout);
    sigwait(&ends, &which);
    sc_upstream_stop(upstream);
    return 0;
}
