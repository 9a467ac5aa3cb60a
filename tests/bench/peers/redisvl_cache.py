"""RedisVL's SemanticCache with ENTRIES stored, asked CALLS times: prints CPU per call as JSON.

usage: python redisvl_cache.py ENTRIES CALLS given
"""

import json
import os
import sys
import time

from redisvl.extensions.cache.llm import SemanticCache
from redisvl.extensions.cache.llm.schema import CacheEntry
from redisvl.utils.vectorize import CustomVectorizer
import redis

import vectors


def redis_cpu(client):
    usage = client.info("cpu")
    return usage["used_cpu_user"] + usage["used_cpu_sys"]


def open_cache():
    return SemanticCache(name="redisvl", redis_url=os.environ["REDIS_URL"],
                         distance_threshold=float(os.environ["SIMILARITY_THRESHOLD"]),
                         vectorizer=CustomVectorizer(embed=lambda text, **_: vectors.embed([text])[0].tolist()))


def fill(cache, count):
    """What store() does with one entry, for all of them at once."""
    texts = [vectors.stored(n) for n in range(count)]
    entries = [CacheEntry(entry_id=str(n), prompt=text, response="The answer to: " + text,
                          prompt_vector=vector.tolist()).to_dict("float32")
               for n, (text, vector) in enumerate(zip(texts, vectors.embed_all(texts)))]
    cache.index.load(data=entries, id_field="entry_id")


def main():
    entries, calls = int(sys.argv[1]), int(sys.argv[2])
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    cache = open_cache()
    if cache.index.info()["num_docs"] < entries:
        fill(cache, entries)
    asked = vectors.embed_all([vectors.paraphrase(n % 1000) for n in range(calls)]).tolist()
    waits, hits = [], 0
    cpu, server = time.process_time(), redis_cpu(client)
    for vector in asked:
        begin = time.monotonic()
        hits += bool(cache.check(vector=vector, num_results=1))
        waits.append(time.monotonic() - begin)
    cpu, server = time.process_time() - cpu, redis_cpu(client) - server
    if hits < 0.95 * calls:
        raise SystemExit(f"RedisVL missed {calls - hits} of {calls}")
    waits.sort()
    print(json.dumps({"cpu_us": cpu * 1e6 / calls, "redis_cpu_us": server * 1e6 / calls,
                      "p50_us": waits[calls // 2] * 1e6, "p99_us": waits[calls * 99 // 100] * 1e6}))


main()
