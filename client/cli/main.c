/* semcache - asks a semantic cache from the command line. */
#include <stdio.h>
#include <string.h>

#include "client/cli/cli.h"

static const struct {
    const char *name;
    int (*run)(cli *c);
} commands[] = {
    {"answer", cli_run_answer},         {"stats", cli_run_stats}, {"invalidate", cli_run_invalidate},
    {"look", cli_run_look},             {"tune", cli_run_tune},   {"demo", cli_run_demo},
};

static int run(const char *name, cli *c)
{
    sc_error error = {0};

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) != 0)
            continue;
        if (sc_client_open(&c->options.client, &c->client, &error) != SC_OK)
            return cli_fail(&error);
        int code = commands[i].run(c);
        sc_client_close(c->client);
        return code;
    }
    fprintf(stderr, "semcache: no command \"%s\"; see semcache --help\n", name);
    return 2;
}

int cli_fail(const sc_error *error)
{
    fprintf(stderr, "semcache: %s\n", error->text);
    return 1;
}

int main(int argc, char **argv)
{
    cli         c = {0};
    const char *name = cli_options_read(argc, argv, &c.options);
    int         code = name == NULL ? 2 : *name == '\0' ? 0 : run(name, &c);
    cli_options_free(&c.options);
    return code;
}
