"""The arithmetic alone: encoder and prefilter, each beside the limit it measures in the same run."""

import re
import subprocess

from suite.figures import Row
from suite.world import Missing

ENCODER = "tests/bench/encoder_bench"
PREFILTER = "tests/bench/prefilter_bench"

ENCODER_LINE = re.compile(r"^(\d+ \S+(?: of \d+)?)\s+(\d)\s+" + r"([\d.]+)\s+" * 5 + r"(\d+) %")
ENCODER_HEAD = re.compile(r"^(\w+), (float\d+) weights")
PREFILTER_LINE = re.compile(r"^\s*(\d+)\s+(\d+)\s+(\d+|-)\s+(read \S+|\S+)\s+([\d.]+)\s+"
                            r"([\d.]+)\.\.([\d.]+)(.*)$")


def output(argv):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout


def encoder_lines(text):
    """(kernel, weights, pass, threads, cpu ms, wall ms, cpu per text, GFLOP/s, peak, share)"""
    kernel = weights = None
    for line in text.splitlines():
        head = ENCODER_HEAD.match(line)
        if head:
            kernel, weights = head.groups()
        found = ENCODER_LINE.match(line)
        if found and kernel:
            name, threads, *figures = found.groups()
            yield (kernel, weights, name, int(threads), *map(float, figures))


def encoder(plan, *words):
    """The encoder's figures; a quick run has one kernel, one thread and as few passes as can be."""
    return list(encoder_lines(output([ENCODER, "--quick"] if plan.quick
                                     else [ENCODER, "--seconds", "0.25", *words])))


def best_by_pass(plan):
    """Our milliseconds of CPU by (pass, threads), float32, of the kernel that is best here."""
    return {(name, threads): cpu for _, _, name, threads, cpu, *_
            in encoder(plan, "--kernel", "best", "--weights", "float32")}


def encoder_ms_per_question(plan):
    lines = encoder(plan, "--kernel", "best", "--weights", "float32", "--pass", "1 question",
                    "--threads-max", "1")
    return lines[0][4]


def encoder_rows(plan):
    lines = encoder(plan, "--kernel", "best")
    if not plan.quick:
        lines += encoder(plan, "--kernel", "openblas", "--weights", "float32", "--threads-max", "1")
    goals = {"1 question": 75, "32 questions": 85}
    rows = []
    for kernel, weights, name, threads, cpu, wall, each, gflops, peak, share in lines:
        judged = threads == 1 and weights == "float32" and kernel != "openblas"
        goal = goals.get(name) if judged else None
        rows.append(Row("Built-in encoder", f"{kernel}, {weights}, {name}", f"{threads} threads",
                        cpu, "ms CPU", reference="FMA peak, GFLOP/s", beside=peak,
                        ratio=share / 100, goal=goal / 100 if goal else None, at_least=True,
                        note=f"{each:.2f} ms per text, {gflops:.0f} GFLOP/s"))
    if not rows:
        raise Missing("there is no model: run bazel/install")
    return rows + drift_rows()


def drift_rows():
    """How far reduced weights move the cosines of texts whose vectors the model's authors made."""
    found = re.findall(r"^(float\d+) drift ([\d.]+) of (\d+) texts", output([ENCODER, "--drift"]), re.M)
    goals = {"float16": 0.0005}
    return [Row("Built-in encoder", f"{weights} weights, drift of pairwise cosines", f"{texts} texts",
                float(worst), "cosine", goal=goals.get(weights), note="golden texts, largest of all pairs")
            for weights, worst, texts in found]


def prefilter_rows(plan):
    text = output([PREFILTER, "--quick"] if plan.quick else [PREFILTER, "--best"])
    rows = list(prefilter_figures(text))
    growth = list(growth_figures(text))
    return rows + pass_rows(rows) + growth + growth_goals(growth, text)


def prefilter_figures(text):
    """The table of the best kernels; others of this processor follow it, under their names."""
    begun = False
    for line in text.splitlines():
        found = PREFILTER_LINE.match(line)
        if begun and not line.strip():
            return
        if not found:
            continue
        begun = True
        rows, dim, queries, how, middle, low, high, rest = found.groups()
        share = re.search(r"([\d.]+) ?%", rest)
        yield Row("Prefilter, ns per row and query", f"{rows} x {dim}, {how}", f"{queries} queries",
                  float(middle), "ns", float(low), float(high),
                  reference="share of the read limit" if share else "",
                  ratio=float(share.group(1)) / 100 if share else None, at_least=True,
                  goal=0.8 if share and is_reading(int(rows), how) else None,
                  note=rest.strip() if not share else "")


def is_reading(rows, how):
    """Whether the read limit is the limit: of codes only where they come from memory. Out of a cache
    they are read faster than any arithmetic is done with them."""
    return how == "float32" or how == "int8" and rows >= 100000


def pass_rows(rows):
    """What the quantised first pass gains, at the largest size."""
    found = {(r.path, r.at): r.value for r in rows}
    shape = [r.path for r in rows if r.path.endswith(", float32")][-1].split(",")[0]
    exact, rough = (found[f"{shape}, {how}", "1 queries"] for how in ("float32", "int8"))
    return [Row("Prefilter, ns per row and query", f"{shape}, float32 / int8", "1 queries", exact,
                "ns", reference="int8 first", beside=rough, ratio=exact / rough, goal=3,
                at_least=True)]


def growth_figures(text):
    """One scope of many rows, and many scopes of few: ns per call, from the table at the end."""
    lines, seen = iter(text.splitlines()), set()
    for line in lines:
        if line.split()[:3] == ["scopes", "each", "dim"]:
            break
    for line in lines:
        words = line.split()
        if len(words) != 8 or not words[0].isdigit():
            return
        scopes, each, _, put, exact, search, _, extra = words
        if (scopes, each) in seen:
            continue
        seen.add((scopes, each))
        yield Row("Growth of the warm set", f"{scopes} scopes of {each}", "search", float(search),
                  "ns", note=f"put {put} ns, exact {exact} ns, {extra} B beside the vector")


def growth_goals(growth, text):
    """Of the same total: is a call as cheap in ten thousand scopes as in one? Is a search linear in
    its scope's rows, and constant once the memory is full?"""
    one, ten, _, many = growth[:4]
    group, goal = one.group, 1.25
    calls, single = (sum(map(float, re.findall(r"(?:put|exact) (\d+) ns", r.note))) for r in (many, one))
    per_row, tenth = (r.value / int(r.path.split()[-1]) for r in (one, ten))
    budget = re.search(r"^beyond the budget of (\d+) bytes: .* search (\d+) ns; .* search (\d+) ns$",
                       text, re.M)
    full, beyond = float(budget.group(2)), float(budget.group(3))
    return [beside(group, "put and exact look-up, " + many.path, calls, one.path, single, goal),
            beside(group, "search per row, " + one.path, per_row, ten.path, tenth, goal),
            beside(group, f"search with three times what {int(budget.group(1)) / 1e6:.1f} MB hold",
                   beyond, "when full", full, goal)]


def beside(group, path, ours, reference, theirs, goal):
    return Row(group, path, "-", ours, "ns", reference=reference, beside=theirs, ratio=ours / theirs,
               goal=goal)
