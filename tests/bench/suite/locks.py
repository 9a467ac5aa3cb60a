"""Which locks a hit takes, and which of them were not free: lock_profile before the server.

Not part of a whole run, since counting slows what is counted: --only locks.
"""

import collections
import os
import re
import signal
import subprocess

from suite.figures import Row
from suite.serving import ask_paraphrases
from suite.world import SEMCACHED

PROFILER = os.path.abspath("tests/bench/liblock_profile.so")
GROUP = "Locks per question, 64 callers"
CALLERS = 64


def rows_of(rig, plan):
    rows = []
    for name, method, settings in (("exact hit", "exact", {}),
                                   ("warm hit, vector known", "warm_known", {}),
                                   ("warm hit, vector from upstream", "warm_given",
                                    {"EMBEDDING_MAP_BYTES": 0}),
                                   ("Redis hit, vector known", "redis_hit",
                                    {"WARM_BYTES_MAX": 1 << 20, "REDIS_TIMEOUT_MS": 10000})):
        rows += profile(rig, plan, name, method, settings)
    return rows


def profile(rig, plan, name, method, settings):
    """The rig's own path, with another server in the place of its own."""
    path = os.path.join(rig.world.folder, "locks." + method)
    server = rig.world.semcached(LD_PRELOAD=PROFILER, LOCK_PROFILE=path, **settings)
    if method != "redis_hit":
        server.wait_warm(plan.entries)
    ask_paraphrases(server, plan)
    place = {"exact": "known", "warm_known": "known", "warm_given": "given", "redis_hit": "cold"}[method]
    usual = getattr(rig, place)
    setattr(rig, place, server)
    if method == "redis_hit":
        rig.chill()
    os.kill(server.pid, signal.SIGUSR2)
    questions = getattr(rig, method)(CALLERS, seconds=3 * plan.seconds, warmup=0)["questions"]
    setattr(rig, place, usual)
    server.stop()
    with open(path, encoding="ascii") as file:
        return list(rows_from(name, questions, [line.split() for line in file]))


def rows_from(name, questions, sites):
    """Ours, gRPC's and the rest; then our functions that every second question meets, or that met
    a lock which was not free."""
    sums, ours = collections.defaultdict(lambda: [0, 0, 0]), collections.defaultdict(lambda: [0, 0, 0])
    functions = names_of([offset for module, offset, *_ in sites if is_ours(module)])
    for module, offset, *counts in sites:
        for into in [sums[owner_of(module)]] + ([ours[functions[offset]]] if is_ours(module) else []):
            into[:] = [a + int(b) for a, b in zip(into, counts)]
    for owner, counts in sorted(sums.items()):
        yield line(name, owner, counts, questions)
    for function, counts in sorted(ours.items(), key=lambda item: -item[1][0]):
        if counts[0] > 0.5 * questions or counts[1] > 0.0002 * questions:
            yield line(name, function + "()", counts, questions)


def line(name, what, counts, questions):
    taken, contended, waited_ns = counts
    return Row(GROUP, name, what, taken / questions, "locks",
               note=f"not free {contended / questions:.4f} ({contended / max(1, taken):.2%}), "
                    f"waited {waited_ns / 1000 / questions:.2f} us")


def is_ours(module):
    return os.path.basename(module) == os.path.basename(SEMCACHED)


def owner_of(module):
    if is_ours(module):
        return "ours"
    return "gRPC's" if re.search(r"lib(grpc|gpr|absl)", module) else "other libraries'"


def names_of(offsets):
    out = subprocess.run(["addr2line", "-f", "-e", SEMCACHED, *offsets], check=True,
                         stdout=subprocess.PIPE, text=True).stdout.splitlines()
    return dict(zip(offsets, out[::2]))
