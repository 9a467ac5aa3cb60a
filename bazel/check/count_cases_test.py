#!/usr/bin/env python3
"""What count_cases.py makes of logs and event streams."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import count_cases  # noqa: E402

CMOCKA = """\
[==========] Running 3 test(s).
[ RUN      ] adds
[       OK ] adds
[ RUN      ] divides
[  ERROR   ] --- 1 != 2
[  FAILED  ] divides
[ RUN      ] needs redis
a thread's words[  SKIPPED ] needs redis
[==========] 3 test(s) run.
[  PASSED  ] 1 test(s).
[  FAILED  ] 1 test(s), listed below:
[  FAILED  ] divides
[  SKIPPED ] 1 test(s), listed below:
[  SKIPPED ] needs redis
[==========] Running 1 test(s).
[       OK ] again
[==========] 1 test(s) run.
"""


class Cases(unittest.TestCase):
    def test_counts_each_case_once(self):
        outcomes = [outcome for outcome, _ in count_cases.cases(CMOCKA)]
        self.assertEqual(outcomes, ["passed", "failed", "skipped", "passed"])

    def test_program_without_cases_is_one(self):
        self.assertEqual(count_cases.cases_of_test("//a", True, "hello"), [("passed", "//a")])

    def test_crash_after_good_cases_is_a_failure(self):
        outcomes = [o for o, _ in count_cases.cases_of_test("//a", False, "[       OK ] x\n")]
        self.assertEqual(outcomes, ["passed", "failed"])


class Passes(unittest.TestCase):
    def count(self, status, logs):
        """Runs main over one pass whose tests ended as (status, log); gives (exit, last line)."""
        with tempfile.TemporaryDirectory() as folder:
            events = [{"id": {"progress": {}}, "progress": {}}]
            for i, (outcome, log) in enumerate(logs):
                path = pathlib.Path(folder) / f"{i} test.log"
                path.write_text(log, encoding="utf-8")
                output = [{"name": "test.log", "uri": path.as_uri()}]
                events.append({"id": {"testResult": {"label": f"//{i}"}},
                               "testResult": {"status": outcome, "testActionOutput": output}})
            base = pathlib.Path(folder) / "plain"
            base.with_suffix(".json").write_text("\n".join(map(json.dumps, events)), encoding="utf-8")
            base.with_suffix(".status").write_text(f"{status}\n", encoding="utf-8")
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
                code = count_cases.main(folder, ["plain"])
            return code, out.getvalue()

    def test_all_good(self):
        logs = [("PASSED", "[       OK ] a\n[  SKIPPED ] b\n"), ("PASSED", "")]
        self.assertEqual(self.count(0, logs), (0, "2 passed, 0 failed, 1 skipped\n"))

    def test_failed_case(self):
        self.assertEqual(self.count(3, [("FAILED", CMOCKA)]), (1, "2 passed, 1 failed, 1 skipped\n"))

    def test_broken_build_is_a_failure(self):
        self.assertEqual(self.count(1, [("PASSED", "")]), (1, "1 passed, 1 failed, 0 skipped\n"))

    def test_nothing_run_is_a_failure(self):
        self.assertEqual(self.count(0, [])[0], 1)


if __name__ == "__main__":
    unittest.main()
