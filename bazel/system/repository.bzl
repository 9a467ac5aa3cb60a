"""@system: the C libraries of the machine as cc_library targets, found by pkg-config."""

# Target: (pkg-config module, or None for a plain -l; linker flags, or None for those of pkg-config).
#
# gRPC's module also names the static archives it was built from (abseil, upb); the shared library
# has them inside, so linking them again would only add a second copy.
_LIBRARIES = {
    "cmocka": ("cmocka", None),
    "crypto": ("libcrypto", None),
    "curl": ("libcurl", None),
    "dl": (None, ["-ldl"]),
    "grpc": ("grpc", ["-lgrpc", "-lgpr"]),
    "hiredis": ("hiredis", None),
    "jansson": ("jansson", None),
    "m": (None, ["-lm"]),
    "microhttpd": ("libmicrohttpd", None),
    "openblas": ("openblas", None),
    "pcre2": ("libpcre2-8", None),
    "protobuf_c": ("libprotobuf-c", None),
    "pthread": (None, ["-pthread"]),
    "ssl": ("libssl", None),
    "utf8proc": ("libutf8proc", None),
    "uv": ("libuv", None),
}

_RULE = """
cc_library(
    name = "{name}",
    hdrs = glob({hdrs}),
    defines = {defines},
    includes = {includes},
    linkopts = {linkopts},
)
"""

def _pkg_config(ctx, module, flag):
    result = ctx.execute(["pkg-config", flag, module])
    if result.return_code != 0:
        fail("%s is missing (run bazel/install): %s" % (module, result.stderr))
    return [word for word in result.stdout.strip().split(" ") if word]

def _unique(words):
    return {word: None for word in words}.keys()

# Include folders that the compiler does not search by itself come in through a symbolic link:
# `includes` wants a path inside the repository, and makes it a system folder (-isystem), so
# warnings in it do not count.
def _include_links(ctx, name, flags):
    links = []
    for flag in flags:
        path = flag[2:].rstrip("/")
        if path.startswith("/usr/include/") and len(path.split("/")) == 4 and path.endswith("-linux-gnu"):
            continue
        link = "include/%s/%d" % (name, len(links))
        ctx.symlink(path, link)
        links.append(link)
    return links

def _system_libraries_impl(ctx):
    rules = ["package(default_visibility = [\"//visibility:public\"])\n"]
    for name, (module, linkopts) in _LIBRARIES.items():
        cflags = _pkg_config(ctx, module, "--cflags") if module else []
        includes = _include_links(ctx, name, [flag for flag in cflags if flag.startswith("-I")])
        if linkopts == None:
            linkopts = _unique(_pkg_config(ctx, module, "--libs"))
        rules.append(_RULE.format(
            name = name,
            hdrs = [link + "/**/*.h" for link in includes],
            defines = [flag[2:] for flag in cflags if flag.startswith("-D")],
            includes = includes,
            linkopts = linkopts,
        ))
    ctx.file("BUILD", "".join(rules))

# `configure`: `bazel sync --configure` looks again after packages changed.
system_libraries = repository_rule(
    implementation = _system_libraries_impl,
    configure = True,
    local = True,
    environ = ["PKG_CONFIG_PATH"],
)
