"""The macros that every BUILD file uses: our compiler flags, tests, generated code.

    sc_library, sc_binary   C in this project's dialect, warnings as errors
    sc_test                 a cmocka test
    sc_fuzz_test            a parser under libFuzzer; without it, a replay of its corpus
    proto_c_library         .proto to protobuf-c messages
    descriptor_set          .proto to one FileDescriptorSet
    embed_file              a file's bytes as a C array
"""

_WARNINGS = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wshadow",
    "-Wconversion",
    "-Wstrict-prototypes",
    "-Wmissing-prototypes",
    "-Wcast-qual",
    "-Wvla",
    "-Wundef",
    "-Wwrite-strings",
    "-Wformat=2",
]

_DIALECT = ["-std=c11", "-D_GNU_SOURCE"]

# A release must build with compilers that warn about more than ours do; so must sanitizer builds,
# where gcc's flow analysis raises false alarms.
_COPTS = _DIALECT + _WARNINGS + select({
    "//bazel:release": [],
    "//conditions:default": ["-Werror"],
}) + select({
    "//bazel:sanitizer": ["-Wno-error"],
    "//conditions:default": [],
})

def sc_library(name, copts = [], **kwargs):
    """A cc_library in our dialect. Headers are included by their path from the root: "src/base/status.h"."""
    native.cc_library(
        name = name,
        copts = _COPTS + copts,
        **kwargs
    )

def sc_binary(name, copts = [], **kwargs):
    """A cc_binary in our dialect."""
    native.cc_binary(
        name = name,
        copts = _COPTS + copts,
        **kwargs
    )

def sc_test(name, srcs = None, deps = [], size = "small", copts = [], **kwargs):
    """A cmocka test: one source file of the same name unless srcs says otherwise.

    Runs in the runfiles tree, so data files are opened by their path from the root. A failing test
    prints the lines that bazel/test counts.
    """
    native.cc_test(
        name = name,
        srcs = srcs or [name + ".c"],
        size = size,
        copts = _COPTS + copts,
        deps = deps + ["@system//:cmocka"],
        **kwargs
    )

def sc_fuzz_test(name, corpus, srcs = None, deps = [], size = "small", copts = [], **kwargs):
    """A function `int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)` and a folder of inputs.

    An ordinary build makes a test that runs every file in the folder `corpus` once. With
    --config=fuzz the same target is a libFuzzer program that starts from them:
    bazel run --config=fuzz //tests/fuzz:NAME -- -max_total_time=600 [folder for new inputs]
    """
    inputs = native.glob([corpus + "/*"])
    native.cc_test(
        name = name,
        srcs = srcs or [name + ".c"],
        size = size,
        # libFuzzer calls the entry point by name; no header declares it.
        copts = _COPTS + ["-Wno-missing-prototypes"] + copts,
        args = select({
            "//bazel:fuzz": ["-max_total_time=10", native.package_name() + "/" + corpus],
            "//conditions:default": ["$(rootpath %s)" % input for input in inputs],
        }),
        data = inputs,
        linkopts = select({
            "//bazel:fuzz": ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        deps = deps + select({
            "//bazel:fuzz": [],
            "//conditions:default": ["//bazel/fuzz:replay"],
        }),
        **kwargs
    )

def _check_root(name):
    if native.package_name() != "proto":
        fail("%s: .proto files are read from the package //proto, their import root" % name)

def proto_c_library(name, srcs, deps = [], **kwargs):
    """protobuf-c messages of .proto files, in the package //proto.

    `semcache/v1/x.proto` gives `#include "proto/semcache/v1/x.pb-c.h"`. Every imported file is in
    the srcs of this target or of one in deps.
    """
    _check_root(name)
    sources = [src[:-len(".proto")] + ".pb-c.c" for src in srcs]
    headers = [src[:-len(".proto")] + ".pb-c.h" for src in srcs]
    native.genrule(
        name = name + "_generate",
        srcs = srcs,
        outs = sources + headers,
        tools = [dep + "_protos" for dep in deps],
        # The initialisers in the headers expand in our code: as system headers they may warn unseen.
        cmd = "protoc --proto_path=proto --c_out=$(RULEDIR) $(SRCS) && " +
              "sed -i '1i #pragma GCC system_header' " +
              " ".join(["$(RULEDIR)/" + header for header in headers]),
    )
    native.filegroup(name = name + "_protos", srcs = srcs + [dep + "_protos" for dep in deps])
    native.cc_library(
        name = name,
        srcs = sources,
        hdrs = headers,
        # Generated files include each other by their path from the import root.
        includes = ["."],
        copts = _DIALECT + ["-w"],
        deps = deps + ["@system//:protobuf_c"],
        **kwargs
    )

def descriptor_set(name, srcs, **kwargs):
    """NAME.binpb: one FileDescriptorSet with the given .proto files and all that they import."""
    _check_root(name)
    native.genrule(
        name = name,
        srcs = srcs,
        outs = [name + ".binpb"],
        cmd = "protoc --proto_path=proto --include_imports --descriptor_set_out=$@ $(SRCS)",
        **kwargs
    )

def embed_file(name, src, symbol, **kwargs):
    """A library with NAME.h: `const unsigned char SYMBOL[]` holds src, `const size_t SYMBOL_len` its length.

    The array ends with a NUL that the length does not count, so text can be used as a string.
    """
    native.genrule(
        name = name + "_generate",
        srcs = [src],
        outs = [name + ".c", name + ".h"],
        cmd = """
            set -eu
            c=$(RULEDIR)/{name}.c
            h=$(RULEDIR)/{name}.h
            {{
                printf '#pragma once\\n#include <stddef.h>\\n\\n'
                printf 'extern const unsigned char {symbol}[];\\nextern const size_t {symbol}_len;\\n'
            }} > "$$h"
            {{
                printf '#include <stddef.h>\\n\\n'
                printf 'extern const unsigned char {symbol}[];\\nextern const size_t {symbol}_len;\\n\\n'
                printf 'const unsigned char {symbol}[] = {{\\n'
                od -v -An -tu1 $< | sed 's/  */ /g; s/\\([0-9]\\)\\( \\|$$\\)/\\1, /g'
                printf '0}};\\nconst size_t {symbol}_len = sizeof {symbol} - 1;\\n'
            }} > "$$c"
        """.format(name = name, symbol = symbol),
    )
    native.cc_library(
        name = name,
        srcs = [name + ".c"],
        hdrs = [name + ".h"],
        copts = _COPTS,
        **kwargs
    )
