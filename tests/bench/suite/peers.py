"""Others' caches on the same Redis and the same vectors; each in an environment of its own."""

import json
import os
import subprocess

from suite import http_load, kernels
from suite.figures import row
from suite.serving import PARAPHRASE, redis_beside, word
from suite.world import Missing, cache_dir

GROUP = "Peers, CPU per hit with Redis' included"
THRESHOLD = "0.10"


def python():
    path = os.path.join(cache_dir(), "bench-peers", "bin", "python")
    if not os.path.exists(path):
        raise Missing("peers are not installed: run tests/bench/peers/install")
    return path


def environment(world):
    return {**os.environ, "REDIS_URL": f"redis://127.0.0.1:{world.redis_port}",
            "OPENAI_BASE_URL": world.upstream_url, "OPENAI_API_KEY": "bench",
            "EMBEDDING_DIM": str(world.dim), "SIMILARITY_THRESHOLD": THRESHOLD,
            "PYTHONDONTWRITEBYTECODE": "1"}


class Tutorial:
    """The tutorial's own service: FastAPI, redis-py, numpy, one worker."""

    def __init__(self, world, plan):
        self.world, self.plan = world, plan
        argv = [python(), "-B", "tests/bench/peers/tutorial.py"]
        subprocess.run(argv + ["fill", str(plan.entries)], check=True, env=environment(world))
        self.program = world.start(argv + ["serve"], r"listening on (\d+)", environment(world))
        self.port = int(self.program.found.group(1))

    def ask(self, callers, requests=None, rate=None):
        before, redis = self.program.cpu(), self.world.redis_cpu()
        try:
            got = http_load.run(self.port, "/ask",
                                lambda n: {"question": PARAPHRASE.replace("{w}", word(n % 1000))},
                                callers, requests or self.plan.peer_requests, rate)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{self.program.text()[-1000:]}") from error
        misses = [a for a in got.answers if not json.loads(a)["hit"]]
        if len(misses) > 0.05 * len(got.answers):
            raise RuntimeError(f"the tutorial's service missed {len(misses)} of {len(got.answers)}")
        got.cpu_us = (self.program.cpu() - before) * 1e6 / len(got.answers)
        got.redis_us = (self.world.redis_cpu() - redis) * 1e6 / len(got.answers)
        return got

    def stop(self):
        self.world.stop(self.program)


def redisvl(world, plan, vectors):
    """One caller of SemanticCache.check(): CPU of its process and of Redis, per call."""
    argv = [python(), "-B", "tests/bench/peers/redisvl_cache.py", str(plan.entries),
            str(plan.peer_requests), vectors]
    run = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, env=environment(world))
    return json.loads(run.stdout)


def hits_of(rig, plan, method):
    """CPU of a hit of ours, Redis' included."""
    got = redis_beside(rig, method, 16, seconds=plan.seconds)
    return got["server_cpu_us"] + got["redis_cpu_us"]


def rows_of(rig, plan, tutorial):
    ours, known, cold = ([hits_of(rig, plan, method) for _ in range(plan.rounds)]
                         for method in ("warm_given", "warm_known", "redis_hit"))
    rows = [row(GROUP, "ours, warm hit, vector from upstream", 16, "us", ours),
            row(GROUP, "ours, warm hit, vector known", 16, "us", known),
            row(GROUP, "ours, Redis hit, vector known", 16, "us", cold)]
    for callers in (1, 16):
        rounds = [tutorial.ask(callers) for _ in range(plan.rounds)]
        theirs = [got.cpu_us + got.redis_us for got in rounds]
        rows.append(beside("the tutorial's service", callers, theirs, ours, 50, rounds[-1].p50_us,
                           rounds[-1].p99_us, f"Redis {rounds[-1].redis_us:.0f} us of it, "
                                              f"{rounds[-1].per_second:.0f}/s"))
    given = [redisvl(rig.world, plan, "given") for _ in range(plan.rounds)]
    theirs = [got["cpu_us"] + got["redis_cpu_us"] for got in given]
    rows.append(beside("RedisVL SemanticCache, vector given", 1, theirs, known, 15,
                       given[-1]["p50_us"], given[-1]["p99_us"],
                       f"Redis {given[-1]['redis_cpu_us']:.0f} us of it"))
    return rows


def beside(name, callers, theirs, ours, goal, p50, p99, note):
    return row(GROUP, name, callers, "us", theirs, "ours, warm hit", ours, goal=goal,
               at_least=True, p50_us=p50, p99_us=p99, note=note)


def onnx_rows(plan):
    """ONNX Runtime on the same weights: ours, then its, in every round."""
    argv = [python(), "-B", "tests/bench/peers/onnx_encoder.py",
            os.path.join(cache_dir(), "model", "model.safetensors"), "0.05" if plan.quick else "0.15"]
    ours, theirs = {}, {}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          bufsize=1) as runtime:
        for _ in range(plan.rounds):
            for key, cpu_ms in kernels.best_by_pass(plan).items():
                ours.setdefault(key, []).append(cpu_ms)
            for got in onnx_round(runtime):
                theirs.setdefault((got["weights"], got["pass"], got["threads"]), []).append(got)
        runtime.stdin.close()
    return [onnx_row(key, ours[key[1:]], rounds) for key, rounds in theirs.items() if key[1:] in ours]


def onnx_round(runtime):
    print("go", file=runtime.stdin)
    for line in runtime.stdout:
        if line == "\n":
            return
        yield json.loads(line)
    raise RuntimeError("ONNX Runtime ended early")


def onnx_row(key, ours, rounds):
    weights, name, threads = key
    goals = {"1 question": 0.6, "32 questions": 0.87}
    wall = sorted(got["wall_ms"] for got in rounds)[len(rounds) // 2]
    return row("Built-in encoder beside ONNX Runtime", f"{name}, {weights}", f"{threads} threads",
               "ms CPU", ours, "ONNX Runtime", [got["cpu_ms"] for got in rounds],
               goal=goals.get(name, 1.0) if weights == "float32" and threads == 1 else None,
               note=f"its wall {wall:.2f} ms")
