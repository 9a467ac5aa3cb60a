"""The prefilter's alternative: FT.SEARCH on the very entries that the warm set holds."""

import os
import struct

from suite.figures import row

GROUP = "Nearest 5 of the entries, CPU per query"


def rows_of(rig, plan):
    """CPU of Redis for KNN 5, with the scope's filter and without; beside our in-memory search."""
    redis = rig.world.redis()
    index = next(name for name in redis.ask("FT._LIST")
                 if number_of_documents(redis, name) >= plan.entries and b"tutorial" not in name)
    tag, value = some_scope(redis, index)
    rows = []
    scope = f"@{tag}:{{{value}}}"
    for name, query, policy in (("FT.SEARCH, no filter", "*", ""),
                                ("FT.SEARCH, scope filter", scope, ""),
                                ("FT.SEARCH, scope filter, in batches", scope,
                                 " HYBRID_POLICY BATCHES")):
        figures = [search_us(rig.world, redis, index, (query, policy), plan)
                   for _ in range(plan.rounds)]
        rows.append(row(GROUP, name, f"{plan.entries} x {rig.world.dim}", "us", figures,
                        note="of Redis; ours: see prefilter, ns per row"))
    redis.close()
    return rows


def info(redis, index):
    flat = redis.ask("FT.INFO", index)
    return {flat[i].decode(): flat[i + 1] for i in range(0, len(flat) - 1, 2)}


def number_of_documents(redis, index):
    return int(info(redis, index)["num_docs"])


def attribute(redis, index, kind):
    for words in info(redis, index)["attributes"]:
        if kind in words:
            return words[words.index(b"attribute") + 1].decode()
    raise RuntimeError(f"no {kind} in {index}")


def some_scope(redis, index):
    """The first tag of the index and its commonest value."""
    for words in info(redis, index)["attributes"]:
        if b"TAG" in words:
            tag = words[words.index(b"attribute") + 1].decode()
            found = redis.ask("FT.AGGREGATE", index, "*", "GROUPBY", 1, "@" + tag, "REDUCE", "COUNT",
                              0, "AS", "n", "SORTBY", 2, "@n", "DESC", "LIMIT", 0, 1)
            return tag, found[1][1].decode()
    raise RuntimeError(f"no tag in {index}")


def search_us(world, redis, index, query, plan):
    vector = attribute(redis, index, b"VECTOR")
    half = b"FLOAT16" in next(w for w in info(redis, index)["attributes"] if b"VECTOR" in w)
    calls, cpu = plan.peer_requests, world.redis_cpu()
    where, policy = query
    for _ in range(calls):
        redis.ask("FT.SEARCH", index, f"({where})=>[KNN 5 @{vector} $v{policy} AS d]", "PARAMS", 2, "v",
                  random_unit(world.dim, half), "SORTBY", "d", "RETURN", 1, "d", "DIALECT", 2)
    return (world.redis_cpu() - cpu) * 1e6 / calls


def random_unit(dim, half):
    values = [b / 128 - 1 for b in os.urandom(dim)]
    length = sum(v * v for v in values) ** 0.5
    return struct.pack(f"<{dim}{'e' if half else 'f'}", *(v / length for v in values))
