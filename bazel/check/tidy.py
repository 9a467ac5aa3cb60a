#!/usr/bin/env python3
"""Looks over the source tree for what no compiler sees. One case per rule, printed as cmocka would.

usage: tidy.py WORKSPACE     a path to the file at the root of the tree, or a link to it
"""

import os
import pathlib
import re
import sys

SOURCES = ("proto", "server", "client", "src", "tests", "bazel")
TEXT = {"", ".bzl", ".c", ".h", ".json", ".md", ".proto", ".py", ".sh", ".txt"}

# Who may include whom in src/: only what stands further left, or the folder itself.
LAYERS = (
    ("base",),
    ("text", "config", "metrics"),
    ("http", "entry"),
    ("prompt", "embed", "warm", "store", "flight", "llm"),
    ("pipeline",),
)
RANK = {folder: rank for rank, folders in enumerate(LAYERS) for folder in folders}

INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]', re.M)
# Split, so that this file keeps its own rule.
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
OWN_PLACE = re.compile(r"(?<![\w$}>)])/(?:home|work|root|Users)/\w|\.\./sha" r"red\b")
# Each has a sibling that knows the size of its target, or reports an error.
UNSAFE_CALL = re.compile(r"(?<![\w.>])(sprintf|vsprintf|strcpy|strcat|gets|strtok|atoi|atof|alloca)\s*\(")
ONE_MACHINE = re.compile(r"-m(?:arch|tune|cpu)=|-mavx|-mfma")


class Tree:
    """The files of the source tree, by their path from its root."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.texts = {}
        for top in SOURCES:
            for folder, _, names in os.walk(self.root / top):
                for name in names:
                    self._read(pathlib.Path(folder) / name)
        for path in self.root.iterdir():
            if path.is_file() and path.name not in ("LICENSE", ".bazelrc.user", ".env"):
                self._read(path)

    def _read(self, path):
        name = path.relative_to(self.root).as_posix()
        if path.suffix in TEXT and "/corpus/" not in name:
            try:
                self.texts[name] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                pass  # Test data that is meant to be broken.

    def c_files(self, *tops):
        return {n: t for n, t in self.texts.items() if n.endswith((".c", ".h")) and n.split("/")[0] in tops}


def matches(texts, pattern):
    """Gives "file:line: match" for each match of a pattern."""
    for name, text in texts.items():
        for found in pattern.finditer(text):
            yield f"{name}:{text.count(chr(10), 0, found.start()) + 1}: {found.group(0).strip()}"


def nothing_is_left_unfinished(tree):
    return matches(tree.texts, UNFINISHED)


def no_path_of_one_machine(tree):
    return matches(tree.texts, OWN_PLACE)


def no_flags_of_one_processor(tree):
    """Kernels are chosen at run time: one program serves every processor."""
    builds = {n: t for n, t in tree.texts.items() if n.endswith((".bzl", "BUILD", ".bazelrc"))}
    return matches(builds, ONE_MACHINE)


def no_unbounded_calls(tree):
    code = {n: re.sub(r"/\*.*?\*/|//[^\n]*", lambda m: "\n" * m.group(0).count("\n"), t, flags=re.S)
            for n, t in tree.c_files("src", "server", "client").items()}
    return matches(code, UNSAFE_CALL)


def src_knows_no_transport(tree):
    for name, text in tree.c_files("src").items():
        for path in INCLUDE.findall(text):
            if path.startswith(("grpc/", "proto/", "server/", "client/", "protobuf-c")) or path.endswith(".pb-c.h"):
                yield f"{name}: includes {path}"


def arrows_point_one_way(tree):
    for name, text in tree.c_files("src").items():
        own = name.split("/")[1]
        if own not in RANK:
            yield f"{name}: src/{own} has no place in LAYERS of bazel/check/tidy.py"
            continue
        for path in INCLUDE.findall(text):
            parts = path.split("/")
            if parts[0] != "src" or parts[1] == own:
                continue
            if RANK.get(parts[1], len(LAYERS)) > RANK[own]:
                yield f"{name}: includes {path}, which stands above it"


def headers_may_be_included_twice(tree):
    for name, text in tree.c_files("src", "server", "client", "tests", "bazel").items():
        if name.endswith(".h") and not re.search(r"^#pragma once$|^#ifndef (\w+)\n#define \1$", text, re.M):
            yield f"{name}: neither #pragma once nor an include guard (a template of code is a .inc file)"


def every_module_has_its_tests(tree):
    """tests/unit mirrors src/: a folder with a header has a folder with a test.

    Except a folder named kernels: several forms of one computation, tested where it is used.
    """
    tested = {name.rsplit("/", 1)[0] for name in tree.texts if name.endswith("_test.c")}
    headers = [name for name in tree.c_files("src") if name.endswith(".h")]
    folders = {name.rsplit("/", 1)[0].removesuffix("/kernels") for name in headers}
    for folder in sorted(folders):
        mirror = "tests/unit/" + folder[len("src/"):]
        if mirror not in tested:
            yield f"{folder}: no *_test.c in {mirror}"


RULES = (
    nothing_is_left_unfinished,
    no_path_of_one_machine,
    no_flags_of_one_processor,
    no_unbounded_calls,
    src_knows_no_transport,
    arrows_point_one_way,
    headers_may_be_included_twice,
    every_module_has_its_tests,
)


def main(workspace):
    tree = Tree(os.path.dirname(os.path.realpath(workspace)))
    failed = 0
    for rule in RULES:
        complaints = list(rule(tree))
        failed += bool(complaints)
        print(f"[ RUN      ] {rule.__name__}")
        for complaint in complaints:
            print(complaint)
        print(f"[{'  FAILED  ' if complaints else '       OK '}] {rule.__name__}")
    return 1 if failed or not tree.texts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
