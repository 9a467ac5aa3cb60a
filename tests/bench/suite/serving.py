"""Paths of a request, each beside a bare gRPC server in the same round.

All servers share one Redis and one upstream that answers at once. The questions:
  stored      "What is the price of article W?", answered once before; W is one of `entries` words
  paraphrase  "Tell me what article W costs.": its vector lies 0.05 from the stored one's
Words and not numbers, because questions with other figures are never compared with each other.
"""

from suite import figures
from suite.figures import row
from suite.world import Echo

STORED = "What is the price of article {w}?"
PARAPHRASE = "Tell me what article {w} costs."
PARAPHRASES = 1000
SOURCES = ("exact", "warm", "redis", "joined", "llm")
FRESH_BELOW = 99999
GROUP = "CPU of the server per question, by callers at a time"
REFRESH, NO_STORE, ONLY_IF_CACHED = 1, 2, 4  # of CacheMode


def word(n):
    """What the load client puts for {w}."""
    return "".join("bcdfghjklm"[int(digit)] for digit in str(n))


def aliases(count):
    return [{"text": f"tell me what article {word(n)} costs",
             "to": f"what is the price of article {word(n)}",
             "distance": 0.05} for n in range(count)]


class Rig:
    """The servers, one setting away from each other, that bring a question onto a path."""

    def __init__(self, world, plan):
        self.world, self.plan = world, plan
        self.fresh = 0
        world.control({"reset": True, "alias": aliases(min(PARAPHRASES, plan.entries))})
        self.known = world.semcached()
        fill(self.known, plan.entries)
        # Every vector is asked of the upstream, as for a question never seen before.
        self.given = world.semcached(EMBEDDING_MAP_BYTES=0)
        # Too little memory for more than a few hundred entries: Redis has to be asked.
        # On a machine with other work to do, Redis may be silent for longer than a service would wait.
        self.cold = world.semcached(WARM_BYTES_MAX=1 << 20, REDIS_TIMEOUT_MS=10000)
        self.asking = world.semcached(CACHE_NAMESPACE="bench-miss", LLM_CONNECTIONS=512)
        self.echo = Echo(world)
        self.given.wait_warm(plan.entries)
        for server in (self.known, self.cold):
            ask_paraphrases(server, plan)  # from here on their vectors are known

    def stop(self):
        for server in (self.known, self.given, self.cold, self.asking):
            server.stop()
        self.world.stop(self.echo.program)

    def unseen(self):
        """A question's beginning that no earlier sample had."""
        self.fresh += 1
        return f"Sample {word(self.fresh)} asks for article {{w}}"

    def exact(self, callers, **more):
        return sample(self.known, "exact", callers, question=STORED, distinct=self.plan.entries,
                      **more)

    def warm_known(self, callers, **more):
        return self._paraphrased(self.known, "warm", callers, **more)

    def warm_given(self, callers, **more):
        return self._paraphrased(self.given, "warm", callers, **more)

    def redis_hit(self, callers, **more):
        return self._paraphrased(self.cold, "redis", callers, **more)

    def chill(self):
        """Fills the small memory with other entries than the next sample begins with."""
        self.cold.load(question="What is the price of article 1{n}?", distinct=900, count=900,
                       warmup=0, concurrency=16)

    def _paraphrased(self, server, source, callers, **more):
        # A paraphrase that the LLM answered would be an exact hit ever after.
        return sample(server, source, callers, question=PARAPHRASE, cache_mode=ONLY_IF_CACHED,
                      distinct=min(PARAPHRASES, self.plan.entries), **more)

    def miss(self, callers, **more):
        return sample(self.asking, "llm", callers, question=self.unseen(), distinct=FRESH_BELOW,
                      count=self.plan.misses, **more)

    def joined(self, callers, **more):
        return sample(self.asking, "joined" if callers > 1 else "llm", callers,
                      question=self.unseen(), cache_mode=NO_STORE, **more)


def ask_paraphrases(server, plan):
    count = min(PARAPHRASES, plan.entries)
    server.load(question=PARAPHRASE, cache_mode=ONLY_IF_CACHED, distinct=count, count=count,
                warmup=0, concurrency=16)


def fill(server, entries, question=STORED):
    """Stores answers by asking, without looking. Few at a time: Redis' index is slower than we are."""
    server.load(question=question, distinct=entries, count=entries, warmup=0, concurrency=16,
                cache_mode=REFRESH)
    server.wait_written()


def sample(target, source, callers, **options):
    if "count" not in options:
        options.setdefault("seconds", 1)
    options.setdefault("warmup", 0 if "count" in options else 0.2)
    got = target.load(concurrency=callers, **options)
    while got["questions"] == 0:  # too short for a machine that is busy with other things
        options["seconds"] = 2 * options["seconds"]
        got = target.load(concurrency=callers, **options)
    answers = got["sources"]
    if source and answers.get(source, 0) < 0.5 * sum(answers.values()):
        raise RuntimeError(f"wanted answers from {source}, got {answers}")
    return got


PATHS = (
    # name, method of the rig, goal as a multiple of the echo's CPU
    ("exact hit", "exact", 1.25),
    ("warm hit, vector known", "warm_known", None),
    ("warm hit, vector from upstream", "warm_given", None),
    ("Redis hit, vector known", "redis_hit", 2.0),
    ("miss, upstream at 0 ms", "miss", None),
    ("joined miss", "joined", None),
)


def measure_paths(rig, plan):
    """Rounds outermost, so that a slow minute of the machine meets every path alike."""
    found = {}
    for _ in range(plan.rounds):
        for callers in plan.callers:
            once = {"echo": sample(rig.echo, None, callers, seconds=plan.seconds)}
            for name, method, _ in PATHS:
                if method == "joined" and callers == 1:
                    continue
                more = {} if method == "miss" else {"seconds": plan.seconds}
                once[name] = redis_beside(rig, method, callers, **more)
            for name, got in once.items():
                found.setdefault((name, callers), []).append(got)
    return found


def redis_beside(rig, method, callers, **more):
    """A sample of a path, with Redis' CPU per question beside the server's."""
    if method == "redis_hit":
        rig.chill()
    rig.asking.wait_written()
    before = rig.world.redis_cpu()
    got = getattr(rig, method)(callers, warmup=0, **more)
    got["redis_cpu_us"] = (rig.world.redis_cpu() - before) * 1e6 / got["questions"]
    return got


def path_rows(found, plan):
    rows = []
    for callers in plan.callers:
        echo = found["echo", callers]
        rows.append(path_row("bare gRPC echo", callers, echo, None, None))
        for name, _, goal in PATHS:
            if (name, callers) in found:
                rows.append(path_row(name, callers, found[name, callers], echo, goal))
    return rows


def path_row(name, callers, rounds, echo, goal):
    ours = [got["server_cpu_us"] for got in rounds]
    theirs = [got["server_cpu_us"] for got in echo] if echo else None
    middle = sorted(rounds, key=lambda got: got["p99_us"])[len(rounds) // 2]
    redis = sorted(got.get("redis_cpu_us", 0) for got in rounds)[len(rounds) // 2]
    note = f"{middle['per_second']:.0f}/s"
    if redis >= 1:
        note += f", Redis {redis:.0f} us"
    return row(GROUP, name, callers, "us", ours,
               "echo", theirs, goal=goal, p50_us=middle["p50_us"], p99_us=middle["p99_us"],
               note=note)


def beyond_arithmetic_rows(rows, plan):
    """Warm hits without the prefilter's own arithmetic, which the echo does not have: made of the
    rows of both parts."""
    found = {(r.path, r.at): r for r in rows}
    made = []
    for callers in plan.callers:
        # Concurrent questions of a scope share a pass over memory.
        queries = "1 queries" if callers == 1 else "8 queries"
        scan = found.get((f"{plan.entries} x 384, int8", queries))
        hit, echo = (found.get((name, str(callers))) for name in
                     ("warm hit, vector known", "bare gRPC echo"))
        if scan and hit and echo:
            scan_us = scan.value * plan.entries / 1000
            made.append(row(GROUP, "warm hit beyond the prefilter", callers, "us",
                            [hit.value - scan_us], "echo", [echo.value], goal=1.5,
                            note=f"prefilter {scan_us:.0f} us"))
    return made


def half_load_row(rig, plan):
    """The tail of exact hits when callers come as they like, at half of what either can bear."""
    ours, theirs = [], []
    for _ in range(plan.rounds):
        rate = 0.5 * min(rig.exact(64, seconds=plan.seconds)["per_second"],
                         sample(rig.echo, None, 64, seconds=plan.seconds)["per_second"])
        theirs.append(sample(rig.echo, None, 256, rate=rate, seconds=plan.seconds)["p99_us"])
        ours.append(rig.exact(256, rate=rate, seconds=plan.seconds)["p99_us"])
    return row("Latency", "exact hit, p99 at half load", "open loop", "us", ours, "echo", theirs,
               goal=2.0, note=f"{rate:.0f}/s")


def added_rows(rig, plan):
    """What the cache adds to the upstream's time: what a caller waits beyond those who ask the
    upstream itself, in the same round."""
    rows = []
    try:
        for callers, delay_ms, goals in ((1, 50, {"p50": 1000}), (256, 500, {"p50": 1000, "p99": 5000})):
            rows += added_at(rig, plan, callers, delay_ms, goals)
    finally:
        rig.world.control({"chat": {}})  # or all that follows waits as well
    return rows


def added_at(rig, plan, callers, delay_ms, goals):
    rig.world.control({"chat": {"delay_ms": delay_ms}})
    rounds = [added_round(rig, plan, callers, delay_ms) for _ in range(plan.rounds)]
    for name, goal in goals.items():
        ours = [ours[name + "_us"] - direct[name + "_us"] for ours, direct in rounds]
        late = figures.median([direct[name + "_us"] - delay_ms * 1000 for _, direct in rounds])
        yield row("Latency", f"added to a miss, {name}", callers, "us", ours, goal=goal,
                  note=f"upstream at {delay_ms} ms, itself late by {late:.0f} us")


def added_round(rig, plan, callers, delay_ms):
    """The cache, and the upstream without it."""
    rig.asking.wait_written()
    # Due at fixed times, so that 256 under way do not march in step.
    rate = callers * 1000 / delay_ms if callers > 1 else 0
    width, seconds = (4 * callers if rate else 1), 2 * plan.seconds
    ours = sample(rig.asking, "llm", width, question=rig.unseen(), distinct=FRESH_BELOW,
                  seconds=seconds, warmup=0.6, cache_mode=NO_STORE, **({"rate": rate} if rate else {}))
    return ours, rig.world.ask_directly(width, rate, seconds)
