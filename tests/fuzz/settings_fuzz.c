/* A .env file and the values in it: whatever they hold, an error is one line, and what is shown
 * of a number reads back as the same. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "src/config/env_file.h"
#include "src/config/quantity.h"
#include "src/config/value.h"

typedef struct {
    const char *text;
    double      real;
    int64_t     integer;
    bool        yes;
    int         choice;
} options;

#define FIELD(member) SC_SETTING_FIELD(options, member)

static const sc_setting rows[] = {
    {"TEXT", SC_SETTING_TEXT, FIELD(text), 0, 100, NULL, "", NULL, ""},
    {"SECRET", SC_SETTING_SECRET, FIELD(text), 0, 100, NULL, "", NULL, ""},
    {"REAL", SC_SETTING_REAL, FIELD(real), 0, 2, NULL, "", NULL, ""},
    {"MS", SC_SETTING_INT, FIELD(integer), -5, 1e15, NULL, "ms", NULL, ""},
    {"BYTES", SC_SETTING_INT, FIELD(integer), 0, 1e15, NULL, "bytes", NULL, ""},
    {"BOOL", SC_SETTING_BOOL, FIELD(yes), 0, 0, NULL, "", NULL, ""},
    {"CHOICE", SC_SETTING_CHOICE, FIELD(choice), 0, 0, NULL, "", "a|bb|ccc", ""},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void store_everywhere(const char *value)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        options   got = {.choice = -1};
        sc_error  error = {0};
        sc_status status = sc_value_store(&rows[i], value, &got, &error);
        assert((status == SC_OK) == (error.text[0] == '\0'));
        assert(strchr(error.text, '\n') == NULL);
        if (status == SC_OK && rows[i].type == SC_SETTING_CHOICE)
            assert(got.choice >= 0 && got.choice < 3);
        if (status == SC_OK && rows[i].type == SC_SETTING_REAL)
            assert(got.real >= 0 && got.real <= 2);
        if (status == SC_OK && rows[i].type == SC_SETTING_INT) {
            char    shown[SC_QUANTITY_BYTES];
            int64_t back;
            sc_quantity_show(got.integer, rows[i].unit, shown);
            assert(sc_quantity_parse(sc_str_of(shown), rows[i].unit, &back) == SC_OK);
            assert(back == got.integer);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_env_reader reader;
    sc_str        name, value;
    sc_error      error = {0};
    sc_status     status;
    sc_env_reader_init(&reader, (sc_str){size == 0 ? "" : (const char *)data, size});
    while ((status = sc_env_next(&reader, &name, &value, &error)) == SC_OK) {
        assert(name.len != 0 && strlen(value.ptr) == value.len);
        store_everywhere(value.ptr);
    }
    assert(status == SC_NOT_FOUND || (status == SC_INVALID && error.text[0] != '\0'));
    sc_env_reader_fini(&reader);
    return 0;
}
