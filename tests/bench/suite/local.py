"""The built-in encoder inside the server; beside it the encoder alone, and others' caches that
embed in their own process."""

import json
import os
import subprocess

from suite import kernels, peers
from suite.figures import row
from suite.serving import fill, sample
from suite.world import Missing, cache_dir

PEERS = "Peers that embed themselves, CPU per hit with Redis' included"
ASKED = "What's the price of article {w}??"
RUNTIMES = {1: "ONNX Runtime on one thread", 0: "ONNX Runtime as it comes"}


def model_folder():
    folder = os.path.join(cache_dir(), "model")
    if not os.path.exists(os.path.join(folder, "model.safetensors")):
        raise Missing("there is no model: run bazel/install")
    return folder


def open_server(world, plan):
    """Without a map of known texts: each question is embedded."""
    model_folder()
    server = world.semcached(EMBEDDING_PROVIDER="local", EMBEDDING_DIM=0, EMBEDDING_MAP_BYTES=0,
                             CACHE_NAMESPACE="bench-local")
    fill(server, plan.local_entries)
    return server


def hit(world, server, plan):
    redis = world.redis_cpu()
    got = sample(server, "warm", 1, question=ASKED, distinct=plan.local_entries,
                 seconds=plan.seconds, warmup=0)
    got["redis_cpu_us"] = (world.redis_cpu() - redis) * 1e6 / got["questions"]
    return got


def rows_of(world, plan):
    server = open_server(world, plan)
    alone = kernels.encoder_ms_per_question(plan) * 1000
    rounds = [hit(world, server, plan) for _ in range(plan.rounds)]
    server.stop()
    return [row("Built-in encoder in the server", "warm hit, vector computed", 1, "us",
                [got["server_cpu_us"] for got in rounds], "encoder alone, 12 tokens",
                [alone] * len(rounds), p50_us=rounds[-1]["p50_us"], p99_us=rounds[-1]["p99_us"],
                note=f"{plan.local_entries} entries")]


def peer(world, plan, kind):
    argv = [peers.python(), "-B", "tests/bench/peers/local_cache.py", kind, model_folder(),
            *map(str, (plan.local_entries, plan.peer_requests // 3, plan.rounds, *RUNTIMES))]
    run = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True,
                         env=peers.environment(world))
    return [json.loads(line) for line in run.stdout.splitlines()]


def peer_rows(world, plan):
    peers.python()
    server = open_server(world, plan)
    rows = []
    for kind, name in (("redisvl", "RedisVL SemanticCache"), ("gptcache", "GPTCache")):
        ours = [hit(world, server, plan) for _ in range(plan.rounds)]
        found = peer(world, plan, kind)
        for threads, runtime in RUNTIMES.items():
            theirs = [got for got in found if got["threads"] == threads]
            rows.append(row(PEERS, f"{name}, {runtime}", 1, "us", [whole(got) for got in theirs],
                            "ours, warm hit, vector computed",
                            [got["server_cpu_us"] + got["redis_cpu_us"] for got in ours], goal=5,
                            at_least=True, p50_us=theirs[-1]["p50_us"],
                            p99_us=theirs[-1]["p99_us"],
                            note=f"{plan.local_entries} entries, Redis "
                                 f"{theirs[-1]['redis_cpu_us']:.0f} us of it"))
    server.stop()
    return rows


def whole(got):
    return got["cpu_us"] + got["redis_cpu_us"]
