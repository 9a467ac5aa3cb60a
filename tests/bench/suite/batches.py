"""What gathering texts into batches gives a crowd and costs one alone."""

import subprocess

from suite.figures import row
from suite.serving import FRESH_BELOW, NO_STORE, sample, word
from suite.world import CLI, number

EMBEDDINGS_MS = 20
BATCHES = f"Embedding batches, endpoint of {EMBEDDINGS_MS} ms, 4 connections"


def ask(rig, server, callers, **options):
    return sample(server, "llm", callers, question=rig.unseen(), distinct=FRESH_BELOW,
                  cache_mode=NO_STORE, **options)


def rows_of(rig, plan):
    """Questions per second against a slow embeddings endpoint, beside one text per call."""
    single = rig.world.semcached(CACHE_NAMESPACE="bench-miss", EMBEDDING_BATCH_MAX=1)
    rows = [together_row(rig, single, plan), alone_row(rig, single, plan), again_row(rig)]
    single.stop()
    return rows


def together_row(rig, single, plan):
    ours, theirs = [], []
    rig.world.control({"embeddings": {"delay_ms": EMBEDDINGS_MS}})
    try:
        for _ in range(plan.rounds):
            for server, out in ((rig.asking, ours), (single, theirs)):
                out.append(ask(rig, server, 64, seconds=plan.seconds)["per_second"])
    finally:
        rig.world.control({"embeddings": {}})
    return row(BATCHES, "misses per second", 64, "/s", ours, "unbatched", theirs, goal=10,
               at_least=True)


def alone_row(rig, single, plan):
    """What gathering costs one who has no company. The endpoint answers at once: its 20 ms would
    drown the microseconds that are looked for."""
    more, without = [], []
    for _ in range(plan.rounds):
        gathered, apart = (ask(rig, server, 1, seconds=plan.seconds)["p50_us"]
                           for server in (rig.asking, single))
        more.append(gathered - apart)
        without.append(apart)
    middle = sorted(without)[len(without) // 2]
    return row(BATCHES, "added to a lone question, p50", 1, "us", more, goal=100,
               note=f"{middle:.0f} us unbatched, endpoint at 0 ms")


def again_row(rig):
    """Questions that were asked in another scope before: how many of them are embedded again."""
    count, question = 20, rig.unseen()
    rig.asking.load(question=question, distinct=count, count=count, warmup=0, concurrency=1,
                    cache_mode=NO_STORE)
    before = embedded(rig.asking)
    for n in range(count):
        subprocess.run([CLI, "--target", f"127.0.0.1:{rig.asking.port}", "--json", "--mode",
                        "no-store", "--system", "Another scope.", "answer",
                        question.replace("{w}", word(n))], check=True, stdout=subprocess.DEVNULL)
    return row(BATCHES, "embedded again in another scope", f"{count} questions", "texts",
               [embedded(rig.asking) - before], goal=0)


def embedded(server):
    return number(server.stats(), "embedding", "texts")
