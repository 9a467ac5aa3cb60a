/* Help, README section, example file and listing: all from the same rows. */
#include <stdio.h>
#include <string.h>

#include "src/config/slot.h"
#include "src/config/value.h"

enum { HELP_COLUMN = 34, VALUE_BYTES_MAX = 2048 };

const char *sc_origin_name(sc_origin origin)
{
    static const char *const names[] = {"default", "file", "environment", "flag"};
    return names[origin];
}

void sc_flag_name(const char *name, char *into)
{
    size_t used = (size_t)snprintf(into, SC_FLAG_BYTES, "--");
    for (; *name != '\0' && used + 1 < SC_FLAG_BYTES; name++)
        into[used++] = *name == '_'                   ? '-'
                       : *name >= 'A' && *name <= 'Z' ? (char)(*name | 0x20)
                                                      : *name;
    into[used] = '\0';
}

static void show_flag(const sc_setting *row, sc_buf *out)
{
    char shown[SC_FLAG_BYTES];
    sc_flag_name(row->name, shown);
    sc_buf_printf(out, "%s%s", shown, row->type == SC_SETTING_SECRET ? "-file" : "");
}

static const char *value_word(const sc_setting *row)
{
    switch (row->type) {
    case SC_SETTING_INT:
    case SC_SETTING_REAL:
        return " N";
    case SC_SETTING_BOOL:
        return "";
    case SC_SETTING_CHOICE:
        return " WORD";
    case SC_SETTING_TEXT:
        break;
    case SC_SETTING_SECRET:
        return " PATH";
    }
    return " TEXT";
}

/* "0..2; default 0.1", as far as there is something to say. */
static void show_facts(const sc_setting *row, sc_buf *out)
{
    size_t start = out->len;
    sc_value_bounds(row, out);
    if (row->fallback == NULL)
        return;
    sc_buf_printf(out, "%sdefault ", out->len > start ? "; " : "");
    sc_value_default(row, out);
    if (row->fallback[0] == '\0')
        sc_buf_str(out, SC_STR("empty"));
}

/* ---- --help ---- */

static void help_row(const sc_setting *row, sc_buf *out)
{
    size_t start = out->len;
    sc_buf_str(out, SC_STR("  "));
    show_flag(row, out);
    sc_buf_printf(out, "%s", value_word(row));
    if (out->len - start >= HELP_COLUMN)
        sc_buf_printf(out, "\n%*s", HELP_COLUMN, "");
    else
        sc_buf_printf(out, "%*s", (int)(HELP_COLUMN - (out->len - start)), "");
    sc_buf_printf(out, "%s\n%*s%s%s: ", row->sentence, HELP_COLUMN, "", row->name,
                  row->type == SC_SETTING_SECRET ? " or the same with _FILE" : "");
    show_facts(row, out);
    while (out->len != 0 && (out->data[out->len - 1] == ' ' || out->data[out->len - 1] == ':'))
        out->data[--out->len] = '\0';
    sc_buf_byte(out, '\n');
}

static void print_help(const sc_config *config, sc_buf *out)
{
    const sc_setting_table *section = NULL;
    sc_buf_printf(out, "Each setting is a flag, an environment variable, or a line in .env; a flag "
                       "wins over\nthe environment, and that over the file.\n\n");
    sc_buf_printf(out, "  --help, --version\n  --env-file PATH%*sread instead of .env\n", 17, "");
    sc_buf_printf(out, "  --print-settings%*swhat is in effect; =env: an example file; "
                       "=markdown: tables\n", 16, "");
    for (size_t i = 0; i < config->slots_count; i++) {
        const sc_slot *slot = &config->slots[i];
        if (slot->table != section)
            sc_buf_printf(out, "\n%s\n", slot->table->title);
        section = slot->table;
        if (!slot->repeated)
            help_row(slot->row, out);
    }
}

/* ---- README ---- */

/* '|' ends a cell. */
static void cell(const char *text, sc_buf *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '|')
            sc_buf_byte(out, '\\');
        sc_buf_byte(out, *text);
    }
}

static void markdown_row(const sc_setting *row, sc_buf *out)
{
    sc_buf bounds;
    sc_buf_init(&bounds, VALUE_BYTES_MAX);
    sc_buf_append(&bounds, "", 0);
    sc_value_bounds(row, &bounds);
    sc_buf_printf(out, "| `%s%s` | `", row->name,
                  row->type == SC_SETTING_SECRET ? "`, `…_FILE" : "");
    show_flag(row, out);
    sc_buf_str(out, SC_STR("` | "));
    if (row->fallback != NULL && row->fallback[0] != '\0') {
        sc_buf_str(out, SC_STR("`"));
        sc_value_default(row, out);
        sc_buf_str(out, SC_STR("`"));
    }
    sc_buf_str(out, SC_STR(" | "));
    cell(bounds.data == NULL ? "" : bounds.data, out);
    sc_buf_str(out, SC_STR(" | "));
    cell(row->sentence, out);
    sc_buf_str(out, SC_STR(" |\n"));
    sc_buf_fini(&bounds);
}

static void print_markdown(const sc_config *config, sc_buf *out)
{
    const sc_setting_table *section = NULL;
    for (size_t i = 0; i < config->slots_count; i++) {
        const sc_slot *slot = &config->slots[i];
        if (slot->table != section)
            sc_buf_printf(out, "%s### %s\n\n| variable | flag | default | bounds | what it is |\n"
                               "|---|---|---|---|---|\n",
                          section == NULL ? "" : "\n", slot->table->title);
        section = slot->table;
        if (!slot->repeated)
            markdown_row(slot->row, out);
    }
}

/* ---- example .env, listing ---- */

static void print_env(const sc_config *config, sc_buf *out)
{
    const sc_setting_table *section = NULL;
    for (size_t i = 0; i < config->slots_count; i++) {
        const sc_slot *slot = &config->slots[i];
        if (slot->table != section)
            sc_buf_printf(out, "%s# ---- %s ----\n", section == NULL ? "" : "\n",
                          slot->table->title);
        section = slot->table;
        if (slot->repeated)
            continue;
        const char *fallback = slot->row->fallback == NULL ? "" : slot->row->fallback;
        bool        quote = strpbrk(fallback, " #'\"\\$") != NULL;
        sc_buf_printf(out, "# %s", slot->row->sentence);
        size_t start = out->len;
        sc_buf_str(out, SC_STR(" ("));
        sc_value_bounds(slot->row, out);
        if (out->len == start + 2)
            out->data[out->len = start] = '\0';
        else
            sc_buf_str(out, SC_STR(")"));
        sc_buf_printf(out, "\n#%s=%s%s%s\n", slot->row->name, quote ? "'" : "", fallback,
                      quote ? "'" : "");
    }
}

void sc_config_each(const sc_config *config,
                    void (*visit)(void *context, const char *name, const char *value,
                                  const char *source),
                    void *context)
{
    sc_buf shown;
    sc_buf_init(&shown, VALUE_BYTES_MAX);
    for (size_t i = 0; i < config->slots_count; i++) {
        const sc_slot *slot = &config->slots[i];
        if (slot->repeated)
            continue;
        sc_buf_clear(&shown);
        sc_buf_append(&shown, "", 0);
        sc_value_show(slot->row, slot->text, &shown);
        visit(context, slot->row->name, shown.data == NULL ? "" : shown.data,
              sc_origin_name(slot->origin));
    }
    sc_buf_fini(&shown);
}

static void print_value(void *context, const char *name, const char *value, const char *source)
{
    sc_buf_printf(context, "%s=%s (%s)\n", name, value, source);
}

void sc_config_print(const sc_config *config, sc_config_mode mode, sc_buf *out)
{
    switch (mode) {
    case SC_CONFIG_HELP:
        print_help(config, out);
        break;
    case SC_CONFIG_PRINT_MARKDOWN:
        print_markdown(config, out);
        break;
    case SC_CONFIG_PRINT_ENV:
        print_env(config, out);
        break;
    case SC_CONFIG_PRINT_VALUES:
        sc_config_each(config, print_value, out);
        break;
    case SC_CONFIG_RUN:
    case SC_CONFIG_VERSION:
        break;
    }
}
