#!/usr/bin/env python3
"""Each rule of tidy.py complains about a tree that breaks it, and about nothing in one that does not."""

import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tidy  # noqa: E402

GOOD = {
    "WORKSPACE": "",
    "src/base/buf.h": "#pragma once\n",
    "src/base/buf.c": '#include "src/base/buf.h"\n/* not sprintf( */ snprintf(a, n, "x");\n',
    "src/embed/local/encoder.h": '#ifndef A_H\n#define A_H\n#include "src/base/buf.h"\n#endif\n',
    "tests/unit/base/buf_test.c": "",
    "tests/unit/embed/local/encoder_test.c": "",
    "bazel/run": 'cp "$work/file" "$folder/home/x"\n',
}

# Rule: a file that breaks it.
BAD = {
    "nothing_is_left_unfinished": ("src/base/buf.c", "/* TO" "DO: more */\n"),
    "no_path_of_one_machine": ("tests/run.sh", "cat /ho" "me/someone/x\n"),
    "no_flags_of_one_processor": ("src/base/BUILD", 'copts = ["-mar' 'ch=native"]\n'),
    "no_unbounded_calls": ("server/main.c", 'sprintf(a, "x");\n'),
    "src_knows_no_transport": ("src/base/buf.c", "#include <grpc/grpc.h>\n"),
    "arrows_point_one_way": ("src/base/buf.c", '#include "src/embed/embed.h"\n'),
    "headers_may_be_included_twice": ("src/base/buf.h", "int x;\n"),
    "every_module_has_its_tests": ("src/warm/warm.h", "#pragma once\n"),
}


def complaints(files):
    """Gives the names of the rules that complain about a tree of these files."""
    with tempfile.TemporaryDirectory() as root:
        for name, text in files.items():
            path = pathlib.Path(root) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        tree = tidy.Tree(root)
        return [rule.__name__ for rule in tidy.RULES if list(rule(tree))]


def main():
    expected = {"a_good_tree": ({}, [])}
    for rule in tidy.RULES:
        name, text = BAD[rule.__name__]
        expected[rule.__name__] = ({name: text}, [rule.__name__])
    failed = 0
    for name, (change, rules) in expected.items():
        seen = complaints({**GOOD, **change})
        failed += seen != rules
        print(f"[{'       OK ' if seen == rules else '  FAILED  '}] {name}: {seen}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
