"""What the server keeps for an entry, a connection, a waiting request; and how it starts."""

import json
import os
import signal
import socket
import subprocess
import time

from suite.figures import row
from suite.serving import NO_STORE, fill
from suite.world import CLI, LOAD, Echo, Resp, number, resident_bytes, wait_until

NAMESPACE = "bench-start"
QUESTION = "Which colour has article {w}?"
GROUP = "Memory, resident"
# An HTTP/2 client's first bytes: the preface and an empty SETTINGS frame.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def idle_row(world, plan):
    server = world.semcached(CACHE_NAMESPACE="bench-idle")
    warm_up(server)
    before = resident_bytes(server.pid)
    held = []
    for _ in range(plan.idle_connections):
        s = socket.create_connection(("127.0.0.1", server.port))
        s.sendall(HELLO)
        held.append(s)
    for s in held:
        s.recv(1)  # its SETTINGS: the server knows this connection
    time.sleep(0.5)
    each = (resident_bytes(server.pid) - before) / len(held)
    for s in held:
        s.close()
    server.stop()
    return row(GROUP, "idle connection", f"{plan.idle_connections}", "B", [each])


def warm_up(server):
    server.load(question=QUESTION, distinct=10, count=50, warmup=0, concurrency=4,
                cache_mode=NO_STORE)


def flight_rows(world, plan):
    """Misses that wait for an upstream of 30 s; how much they hold, and no thread each. Beside them
    calls that wait in a server which has nothing but gRPC's core."""
    count = plan.in_flight
    server = world.semcached(RPC_INFLIGHT_MAX=2 * count, LLM_QUEUE_MAX=2 * count,
                             EMBEDDING_QUEUE_MAX=2 * count, CACHE_NAMESPACE="bench-memory")
    # Each of them is near something, and is told of it in the end.
    fill(server, plan.entries // 10, QUESTION)
    time.sleep(0.3)
    idle = threads_of(server)
    world.control({"chat": {"delay_ms": 30000}})
    held, threads = waiting_bytes(server, count, lambda: number(server.stats(), "server", "flights") >= count)
    server.stop()
    world.control({"chat": {}})
    bare = Echo(world, hold=True)
    # It tells nothing: all have come when it does not grow any more.
    core, _ = waiting_bytes(bare, count, Settled(bare, count))
    world.stop(bare.program)
    return [row(GROUP, "miss that waits for the LLM", f"{count}", "B", [held / count], goal=20000,
                note=f"{held / 1e6:.0f} MB together, {core / 1e6:.0f} MB of it gRPC's core alone"),
            row(GROUP, "threads while they wait", f"{count}", "threads", [threads], "idle", [idle],
                goal=2)]


def threads_of(target):
    """gRPC's own come and go, a few at a time; one for each that waits would be thousands."""
    return len(os.listdir(f"/proc/{target.pid}/task"))


class Settled:
    """True once a server has grown by at least `count` calls and then stays as it is."""

    def __init__(self, target, count):
        self.target, self.last = target, 0
        self.least = resident_bytes(target.pid) + 4000 * count

    def __call__(self):
        before, self.last = self.last, resident_bytes(self.target.pid)
        return before == self.last > self.least


def waiting_bytes(target, count, all_there):
    """What a server holds for so many calls under way, and its threads."""
    before = resident_bytes(target.pid)
    load = subprocess.Popen([LOAD, "--target", f"127.0.0.1:{target.port}", "--concurrency", str(count),
                             "--connections", "20", "--question", "Waiting for article {w}",
                             "--distinct", "99999", "--cache-mode", str(NO_STORE), "--seconds", "60",
                             "--timeout-ms", "60000"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(f"{count} calls under way", all_there, 90, 0.5)
        time.sleep(1)
        return resident_bytes(target.pid) - before, threads_of(target)
    finally:
        load.send_signal(signal.SIGKILL)
        load.wait()


def start_rows(world, plan):
    """A server that finds its entries in Redis, beside reading the same keys without understanding them."""
    count = plan.start_entries
    writer = world.semcached(CACHE_NAMESPACE=NAMESPACE, INDEX_ALGORITHM="flat",
                             STORE_WAITING_ENTRIES_MAX=2 * count)
    text = text_bytes(writer)
    fill(writer, count, QUESTION)
    writer.stop()
    ours, theirs, seconds, redis, each, beside = [], [], [], [], [], []
    for _ in range(plan.rounds):
        empty = world.semcached(CACHE_NAMESPACE="bench-none", INDEX_ALGORITHM="flat")
        bare = resident_bytes(empty.pid)
        empty.stop()
        begin, redis_begin = time.monotonic(), world.redis_cpu()
        server = world.semcached(CACHE_NAMESPACE=NAMESPACE, INDEX_ALGORITHM="flat")
        server.wait_warm(count)
        seconds.append(time.monotonic() - begin)
        redis.append(world.redis_cpu() - redis_begin)
        ours.append(server.program.cpu())
        held = number(server.stats(), "warm", "bytes")
        each.append((resident_bytes(server.pid) - bare) / count - 4 * world.dim - text)
        beside.append(held / count - 4 * world.dim - text)
        server.stop()
        redis_begin = world.redis_cpu()
        scan(world.redis_port, NAMESPACE)
        theirs.append(world.redis_cpu() - redis_begin)
    at = f"{count} entries"
    start = "Start from Redis"
    return [row(GROUP, "entry, beyond vector and text", at, "B", each,
                note="resident, allocator included"),
            row(GROUP, "entry, beyond vector and text", at + " (counted)", "B", beside,
                note="as WARM_BYTES_MAX counts it"),
            row(start, "CPU of Redis", at, "s", redis, "SCAN + HMGET alone", theirs),
            row(start, "CPU of the server", at, "s", ours, "SCAN + HMGET, of Redis", theirs),
            row(start, "until everything is in memory", at, "s wall", seconds,
                note=f"{count / sorted(seconds)[len(seconds) // 2]:.0f} entries/s")]


def text_bytes(server):
    """Of one entry: the question as asked and the answer."""
    question = QUESTION.replace("{w}", "cdfgh")
    out = subprocess.run([CLI, "--target", f"127.0.0.1:{server.port}", "--json", "--mode", "no-store",
                          "answer", question], check=True, stdout=subprocess.PIPE, text=True).stdout
    return len(question) + len(json.loads(out)["answer"])


def scan(port, namespace):
    """SCAN and HMGET of every key, in pipelines of 500; replies are read and dropped."""
    redis = Resp(port)
    cursor, keys_seen = b"0", 0
    fields = None
    while True:
        cursor, keys = redis.ask("SCAN", cursor, "MATCH", namespace + ":*", "COUNT", 500)
        for key in keys[:1] if fields is None else ():
            if redis.ask("TYPE", key) == b"hash":
                fields = redis.ask("HKEYS", key)
        if keys and fields:
            redis.send([["HMGET", key, *fields] for key in keys] + [["PING"]])
            drain(redis)
            keys_seen += len(keys)
        if cursor == b"0":
            break
    redis.close()
    return keys_seen


def drain(redis):
    """Until the reply of the PING that ends a pipeline."""
    tail = b""
    while not tail.endswith(b"+PONG\r\n"):
        tail = (tail + redis.file.read1(1 << 20))[-16:]
