"""One command, one table: what each path costs, beside its reference measured in the same minutes.

    bazel run -c opt //tests/bench -- [options]
"""

import argparse
import datetime
import json
import os
import signal
import sys
import time
import traceback

from suite import (batches, figures, kernels, latency, local, locks, memory, peers, plan, plot,
                   redis_search, serving)
from suite.world import Missing, World

README_BEGIN, README_END = "<!-- result: begin -->", "<!-- result: end -->"

# A run's parts, by the names that --only takes.
PARTS = ("paths", "latency", "batches", "peers", "plot", "local", "memory", "start", "encoder",
         "onnx", "prefilter", "search")
ON_REQUEST = ("locks",)


class Run:
    def __init__(self, wanted, only):
        self.plan, self.only = wanted, only
        self.rows, self.skipped, self.failed = [], [], []
        self.begin = time.monotonic()
        self.svg = None

    def part(self, name, measure):
        """One part's failure must not cost the others."""
        if name not in self.only:
            return None
        print(f"{time.monotonic() - self.begin:5.0f} s  {name}", file=sys.stderr, flush=True)
        try:
            return measure()
        except Missing as missing:
            self.skipped.append(f"{name}: {missing}")
        except Exception:
            self.failed.append(name)
            traceback.print_exc()
        return None

    def add(self, name, measure):
        self.rows += self.part(name, measure) or []


def measure_serving(run, rig, tutorial):
    run.add("paths", lambda: serving.path_rows(serving.measure_paths(rig, run.plan), run.plan))
    run.add("latency", lambda: [serving.half_load_row(rig, run.plan)]
            + serving.added_rows(rig, run.plan))
    run.add("batches", lambda: batches.rows_of(rig, run.plan))
    run.add("locks", lambda: locks.rows_of(rig, run.plan))
    run.add("search", lambda: redis_search.rows_of(rig, run.plan))
    if tutorial is not None:
        run.add("peers", lambda: peers.rows_of(rig, run.plan, tutorial))
    series = run.part("plot", lambda: latency.series(rig, run.plan, tutorial))
    if series:
        run.svg = plot.draw(series, f"{machine()}, client and servers on the same cores, "
                            f"{run.plan.entries} entries of 384")


def measure(run):
    world = World()
    try:
        if set(run.only) & {"paths", "latency", "batches", "peers", "plot", "search", "locks"}:
            rig = serving.Rig(world, run.plan)
            tutorial = run.part("peers", lambda: peers.Tutorial(world, run.plan))
            measure_serving(run, rig, tutorial)
            rig.stop()
        run.add("memory", lambda: [memory.idle_row(world, run.plan)])
        run.add("memory", lambda: memory.flight_rows(world, run.plan))
        run.add("start", lambda: memory.start_rows(world, run.plan))
        run.add("local", lambda: local.rows_of(world, run.plan))
        run.add("peers", lambda: local.peer_rows(world, run.plan))
    finally:
        world.close()
    run.add("encoder", lambda: kernels.encoder_rows(run.plan))
    run.add("onnx", lambda: peers.onnx_rows(run.plan))
    run.add("prefilter", lambda: kernels.prefilter_rows(run.plan))
    run.rows += serving.beyond_arithmetic_rows(run.rows, run.plan)


def machine():
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        flags = file.read()
    widest = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2"),
                                           ("asimd", "NEON")) if flag in flags), "no vectors")
    return f"{os.cpu_count()} cores, {os.uname().machine} with {widest}"


def options_of(words):
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true",
                        help="seconds instead of minutes: whether it works, not how fast it is")
    parser.add_argument("--json", metavar="FILE", help="the rows, for --against")
    parser.add_argument("--against", metavar="FILE", help="say what changed since that run")
    parser.add_argument("--markdown", metavar="FILE", help="the table for a README")
    parser.add_argument("--write-readme", action="store_true",
                        help="the table into tests/bench/README.md, in place of the last one")
    parser.add_argument("--svg", metavar="FILE", help="latency against load")
    parser.add_argument("--no-peers", action="store_true", help="as if none were installed")
    parser.add_argument("--only", metavar="PART", action="append", choices=PARTS + ON_REQUEST,
                        help="again for more: " + " ".join(PARTS + ON_REQUEST))
    options = parser.parse_args(words)
    if options.write_readme and (options.quick or options.only or in_tree("README.md") is None):
        parser.error("--write-readme: of a whole run by bazel, from the source tree")
    return options


def path_of(name):
    """Where the caller stands, not in Bazel's folder."""
    return os.path.join(os.environ.get("BUILD_WORKING_DIRECTORY", os.getcwd()), name)


def write(name, text):
    with open(path_of(name), "w", encoding="utf-8") as file:
        file.write(text)


def in_tree(name):
    """A file of the source tree; None without one."""
    root = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    return root and os.path.join(root, "tests", "bench", name)


def markdown(run, head):
    left_out = "".join(f"\nLeft out: {line}.\n" for line in run.skipped)
    return f"{head}.\n{left_out}" + figures.goals(run.rows) + figures.markdown(run.rows)


def write_readme(section):
    """Between the two marks everything is this command's."""
    path = in_tree("README.md")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, rest = text.split(README_BEGIN + "\n")
    _, after = rest.split(README_END + "\n")
    write(path, f"{before}{README_BEGIN}\n\n{section}\n{README_END}\n{after}")


def report(run, options):
    now = datetime.datetime.now(datetime.timezone.utc)
    head = f"{now:%Y-%m-%d}, {machine()}, load average at the end {os.getloadavg()[0]:.1f}"
    print(head)
    print(figures.table(run.rows))
    for line in run.skipped:
        print("left out: " + line)
    if options.json:
        write(options.json, json.dumps({"head": head, "rows": figures.as_json(run.rows)}, indent=1))
    if options.markdown:
        write(options.markdown, markdown(run, head))
    if options.write_readme:
        write_readme(markdown(run, head))
    if options.svg and run.svg:
        write(options.svg, run.svg)
    if options.against:
        with open(path_of(options.against), encoding="utf-8") as file:
            print("\nagainst " + options.against + "\n"
                  + figures.changes(run.rows, json.load(file)["rows"]))
    print(f"\n{len(run.rows)} rows in {time.monotonic() - run.begin:.0f} s")


def default_svg(run, options):
    """The whole run keeps the picture that the README shows up to date."""
    if options.svg is None and not run.plan.quick:
        options.svg = in_tree("latency.svg")


def main(words):
    options = options_of(words)
    only = [name for name in options.only or PARTS
            if not (options.no_peers and name in ("peers", "onnx"))]
    run = Run(plan.quick() if options.quick else plan.whole(), only)
    default_svg(run, options)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        measure(run)
    except Missing as missing:
        print(f"[  SKIPPED ] bench: {missing}")
        return 1 if os.environ.get("SEMCACHE_REQUIRE") else 0
    except KeyboardInterrupt:
        run.failed.append("interrupted: these are the parts that were measured")
    report(run, options)
    if options.quick:
        check_quick(run)
    for name in run.failed:
        print(f"[  FAILED  ] {name}")
    return 1 if run.failed else 0


def check_quick(run):
    """That what is shown of a whole run can be made from this one too."""
    for name in PARTS:
        if name in run.only and name not in run.failed:
            print(f"[       OK ] {name}")
    assert all(r.value is not None for r in run.rows)
    assert not run.rows or figures.markdown(run.rows).startswith("\n### ")
    assert " rows with a goal reach it." in figures.goals(run.rows)
    assert "changed" not in figures.changes(run.rows, figures.as_json(run.rows))
    assert run.svg is None or run.svg.startswith("<svg ")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
