"""Counts test cases from what `bazel test` recorded; see bazel/test.

usage: count_cases.py FOLDER PASS...     reads FOLDER/PASS.json (build events), FOLDER/PASS.status

A test program is counted by the lines that cmocka prints for each case, whatever wrote them. One
without such lines counts as one case, by its exit. One that fails with no failed case (it crashed,
or a sanitizer spoke up at its end) adds one failed case.
"""

import json
import re
import sys
import urllib.parse

# Not only at a line's start: a thread may have left a line of its own unfinished.
CASE = re.compile(r"\[(       OK |  FAILED  |  SKIPPED )\] (\S.*)")
OUTCOMES = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}


def cases(log):
    """Gives (outcome, name) for each case in a log."""
    in_summary = False  # cmocka ends a group by naming its failed and skipped cases once more.
    for line in log.splitlines():
        if "[==========]" in line:
            in_summary = "run." in line
            continue
        found = CASE.search(line)
        if found and not in_summary:
            yield OUTCOMES[found.group(1).strip()], found.group(2)


def cases_of_test(label, passed, log):
    """Gives all cases of one test program; never none."""
    found = list(cases(log))
    if passed:
        return found or [("passed", label)]
    if not any(outcome == "failed" for outcome, _ in found):
        found.append(("failed", "(the program itself; see its log)"))
    return found


def read_log(outputs):
    for output in outputs:
        if output["name"] == "test.log":
            path = urllib.parse.unquote(urllib.parse.urlparse(output["uri"]).path)
            with open(path, encoding="utf-8", errors="replace") as file:
                return file.read()
    return ""


def count_pass(folder, name):
    """Gives (counts, remarks) of one pass."""
    counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
    remarks = []
    try:
        with open(f"{folder}/{name}.json", encoding="utf-8") as file:
            events = [json.loads(line) for line in file]
    except FileNotFoundError:
        events = []  # Bazel did not even start; its exit status counts below.
    for event in events:
        if "testResult" not in event.get("id", {}) or "testResult" not in event:
            continue
        label = event["id"]["testResult"]["label"]
        result = event["testResult"]
        log = read_log(result.get("testActionOutput", []))
        for outcome, case in cases_of_test(label, result["status"] in ("PASSED", "FLAKY"), log):
            counts[outcome] += 1
            if outcome != "passed":
                remarks.append(f"{name}: {outcome.upper()} {label} {case}")
    with open(f"{folder}/{name}.status", encoding="utf-8") as file:
        status = int(file.read())
    # 3: some test failed, each of which is counted. Anything else: something did not build or run.
    if status not in (0, 3) or (status == 3 and counts["failed"] == 0):
        counts["failed"] += 1
        remarks.append(f"{name}: FAILED bazel itself, exit status {status}: see above")
    return counts, remarks


def main(folder, names):
    total = dict.fromkeys(("passed", "failed", "skipped"), 0)
    for name in names:
        counts, remarks = count_pass(folder, name)
        for remark in remarks:
            print(remark, file=sys.stderr)
        print(f"{name}: " + ", ".join(f"{n} {word}" for word, n in counts.items()), file=sys.stderr)
        for word, n in counts.items():
            total[word] += n
    sys.stderr.flush()
    print(", ".join(f"{n} {word}" for word, n in total.items()))
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
