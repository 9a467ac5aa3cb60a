/* The index over a FileDescriptorSet. It reads what was built in; the scanner is checked like any
 * other. */
#include <assert.h>
#include <stdint.h>

#include "server/rpc/symbols.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    sc_symbols *symbols = NULL;
    sc_str      files[SC_SYMBOLS_FILES_MAX];

    if (sc_symbols_open(data, size, &symbols) != SC_OK) {
        assert(symbols == NULL);
        return 0;
    }
    for (size_t i = 0; i < 8; i++) {
        sc_str name = sc_symbols_service(symbols, i);
        if (name.len == 0)
            break;
        int file = sc_symbols_file_by_name(symbols, name);
        assert(file >= 0);
        size_t count = sc_symbols_closure(symbols, file, files, SC_SYMBOLS_FILES_MAX);
        assert(count >= 1 && count <= SC_SYMBOLS_FILES_MAX);
        assert((const uint8_t *)files[0].ptr >= data &&
               (const uint8_t *)files[0].ptr + files[0].len <= data + size);
    }
    sc_symbols_file_by_path(symbols, (sc_str){(const char *)data, size < 16 ? size : 16});
    sc_symbols_close(symbols);
    return 0;
}
