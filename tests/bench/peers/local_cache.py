"""RedisVL's SemanticCache or GPTCache, each with MiniLM in its own process: CPU per hit as lines of
JSON, one for each number of threads in each round.

usage: python local_cache.py redisvl|gptcache MODEL_FOLDER ENTRIES CALLS ROUNDS THREADS...

GPTCache keeps its answers in SQLite and its vectors in faiss, which is what its documents begin
with. THREADS: of ONNX Runtime, 0 for its default; the first fills the cache.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
import time

import redis

from minilm import Encoder

THRESHOLD = float(os.environ["SIMILARITY_THRESHOLD"])


def word(n):
    """A number in letters, as the load client writes it."""
    return "".join("bcdfghjklm"[int(digit)] for digit in str(n))


def stored(n):
    return f"What is the price of article {word(n)}?"


def asked(n):
    return f"What's the price of article {word(n)}??"


class RedisVL:
    def __init__(self, encoder, _):
        self.encoder = encoder
        from redisvl.extensions.cache.llm import SemanticCache
        from redisvl.utils.vectorize import CustomVectorizer
        self.cache = SemanticCache(
            name="redisvl-local", redis_url=os.environ["REDIS_URL"], distance_threshold=THRESHOLD,
            overwrite=True,
            vectorizer=CustomVectorizer(embed=lambda text, **_: self.encoder.embed(text).tolist()))

    def store(self, text):
        self.cache.store(prompt=text, response="The answer to: " + text)

    def hit(self, text):
        return bool(self.cache.check(prompt=text, num_results=1))

    def close(self):
        self.cache.delete()


class GPTCache:
    def __init__(self, encoder, folder):
        self.encoder = encoder
        from gptcache import Cache, Config
        from gptcache.adapter import api
        from gptcache.manager import CacheBase, VectorBase, get_data_manager
        from gptcache.processor.pre import get_prompt
        from gptcache.similarity_evaluation import SearchDistanceEvaluation
        self.api, self.cache = api, Cache()
        manager = get_data_manager(
            CacheBase("sqlite", sql_url=f"sqlite:///{folder}/answers.db"),
            VectorBase("faiss", dimension=384, index_path=f"{folder}/faiss.index"))
        # Its distance is the square of the Euclidean one, 2 x the cosine's, and 4 at the most.
        self.cache.init(pre_embedding_func=get_prompt, data_manager=manager,
                        embedding_func=lambda text, **_: self.encoder.embed(text),
                        similarity_evaluation=SearchDistanceEvaluation(),
                        config=Config(similarity_threshold=1 - 2 * THRESHOLD / 4))

    def store(self, text):
        self.api.put(text, "The answer to: " + text, cache_obj=self.cache)

    def hit(self, text):
        return self.api.get(text, cache_obj=self.cache) is not None

    def close(self):
        pass


def redis_cpu(client):
    usage = client.info("cpu")
    return usage["used_cpu_user"] + usage["used_cpu_sys"]


def measure(cache, texts, client):
    waits, hits = [], 0
    cpu, server = time.process_time(), redis_cpu(client)
    for text in texts:
        begin = time.monotonic()
        hits += cache.hit(text)
        waits.append(time.monotonic() - begin)
    cpu, server = time.process_time() - cpu, redis_cpu(client) - server
    if hits < 0.95 * len(texts):
        raise SystemExit(f"{type(cache).__name__} missed {len(texts) - hits} of {len(texts)}")
    waits.sort()
    return {"cpu_us": cpu * 1e6 / len(texts), "redis_cpu_us": server * 1e6 / len(texts),
            "p50_us": waits[len(texts) // 2] * 1e6, "p99_us": waits[len(texts) * 99 // 100] * 1e6}


def main():
    kind, model = sys.argv[1:3]
    entries, calls, rounds, *threads = map(int, sys.argv[3:])
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    encoders = [Encoder(model, count) for count in threads]
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)  # after GPTCache's own farewell, which writes there
    cache = {"redisvl": RedisVL, "gptcache": GPTCache}[kind](encoders[0], folder)
    for n in range(entries):
        cache.store(stored(n))
    texts = [asked(n % entries) for n in range(calls)]
    for count, encoder in list(zip(threads, encoders)) * rounds:
        cache.encoder = encoder
        print(json.dumps({"threads": count, **measure(cache, texts, client)}), flush=True)
    cache.close()


if __name__ == "__main__":
    main()
