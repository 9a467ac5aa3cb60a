"""The programs that are measured, started and ended; their CPU time, memory and load."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

SEMCACHED = "server/semcached"
LOAD = "client/load/load"
CLI = "client/cli/semcache"
ECHO = "tests/bench/echo_server"
DIRECT = "tests/bench/direct_client"
UPSTREAM = "tests/support/upstream/upstream"

READY_SECONDS_MAX = 60
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Missing(Exception):
    """Something optional is not there; the rows that need it are left out, with this line."""


def cache_dir():
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("SEMCACHE_CACHE_DIR") or os.path.join(home, "semcache")


def cpu_seconds(pid):
    """CPU time of a process and its threads so far. The clock id is that of
    clock_getcpuclockid(3): finer than the hundredths of /proc/PID/stat."""
    return time.clock_gettime(((~pid) << 3) | 2)


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * PAGE_BYTES


def wait_until(what, condition, seconds=READY_SECONDS_MAX, step=0.02):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds} s in vain: {what}")
        time.sleep(step)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Program:
    """A child whose output goes to a file, and which is ready once a line of it matches."""

    def __init__(self, folder, argv, ready=None, env=None):
        name = os.path.basename(argv[0])
        handle, self.log = tempfile.mkstemp(dir=folder, prefix=name + ".")
        self.child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=handle,
                                      stderr=handle, env=env)
        os.close(handle)
        self.pid = self.child.pid
        self.found = None
        if ready:
            wait_until(f"{name} to be ready, log {self.log}", lambda: self._find(ready))

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _find(self, pattern):
        self.found = re.search(pattern, self.text(), re.M)
        if self.found is None and self.child.poll() is not None:
            raise RuntimeError(f"{self.log}: ended with code {self.child.returncode}:\n"
                               + self.text()[-2000:])
        return self.found is not None

    def cpu(self):
        return cpu_seconds(self.pid)

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()


class Resp:
    """As much of Redis' protocol as a benchmark needs."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb", buffering=1 << 20)

    @staticmethod
    def packed(words):
        words = [w if isinstance(w, bytes) else str(w).encode() for w in words]
        return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in words)

    def send(self, commands):
        self.socket.sendall(b"".join(self.packed(c) for c in commands))

    def read(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.read() for _ in range(int(rest))]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        return int(rest) if kind == b":" else rest

    def ask(self, *words):
        self.send([words])
        return self.read()

    def close(self):
        self.file.close()
        self.socket.close()


class World:
    """A Redis, an upstream, and as many servers as are asked for; ended together."""

    def __init__(self, dim=384):
        self.dim = dim
        self.folder = tempfile.mkdtemp(prefix="semcache-bench.")
        self.programs = []
        try:
            self.upstream = self.start([UPSTREAM, "--dim", str(dim)], r"^(http://\S+)$")
            self.upstream_url = self.upstream.found.group(1)
            self._start_redis()
        except BaseException:
            self.close()
            raise

    def start(self, argv, ready=None, env=None):
        program = Program(self.folder, argv, ready, env)
        self.programs.append(program)
        return program

    def _start_redis(self):
        home = os.path.join(cache_dir(), "redis")
        if not os.path.exists(os.path.join(home, "redis-server")):
            raise Missing("there is no Redis with search: run bazel/install")
        self.redis_port = free_port()
        argv = [os.path.join(home, "redis-server"), "--port", str(self.redis_port), "--bind",
                "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self.folder,
                "--loadmodule", os.path.join(home, "redisearch.so"), "TIMEOUT", "10000"]
        self.redis_pid = self.start(argv, r"Ready to accept connections",
                                    {**os.environ,
                                     "LD_LIBRARY_PATH": os.path.join(home, "stub")}).pid

    def redis(self):
        return Resp(self.redis_port)

    def redis_cpu(self):
        return cpu_seconds(self.redis_pid)

    def control(self, script):
        """Tells the upstream how to behave from now on."""
        request = urllib.request.Request(self.upstream_url + "/control",
                                         json.dumps(script).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request) as reply:
            reply.read()

    def ask_directly(self, callers, rate, seconds):
        """The upstream's own time for an answer, without a cache; as JSON."""
        port = self.upstream_url.rsplit(":", maxsplit=1)[1]
        run = subprocess.run([DIRECT, port, str(callers), str(rate), str(seconds)], check=True,
                             stdout=subprocess.PIPE, text=True)
        return json.loads(run.stdout)

    def semcached(self, **settings):
        return Server(self, settings)

    def stop(self, program):
        program.stop()
        self.programs.remove(program)

    def close(self):
        for program in reversed(self.programs):
            program.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Target:
    """Something the load client can be pointed at."""

    def __init__(self, program, port):
        self.program, self.port, self.pid = program, port, program.pid

    def load(self, **options):
        """Runs the load client; gives what it prints as JSON."""
        argv = [LOAD, "--json", "--target", f"127.0.0.1:{self.port}", "--server-pid", str(self.pid)]
        for name, value in options.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        run = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if not run.stdout.startswith("{"):
            raise RuntimeError(f"{' '.join(argv)}: {run.stderr or run.stdout}")
        result = json.loads(run.stdout)
        bad = {code: n for code, n in result["codes"].items() if code not in ("OK", "NOT_FOUND")}
        if bad:
            raise RuntimeError(f"{' '.join(argv)}: {bad}\n{self.program.text()[-1000:]}")
        return result


class Echo(Target):
    """Answers at once; with `hold`, never."""

    def __init__(self, world, hold=False):
        program = world.start([ECHO, "0", *(["hold"] if hold else [])], r"^(\d+)$")
        super().__init__(program, int(program.found.group(1)))


class Server(Target):
    def __init__(self, world, settings):
        env = {"LISTEN": "127.0.0.1:0", "REDIS_URL": f"redis://127.0.0.1:{world.redis_port}",
               "OPENAI_BASE_URL": world.upstream_url, "OPENAI_API_KEY": "bench",
               "EMBEDDING_PROVIDER": "openai", "EMBEDDING_DIM": str(world.dim),
               **{name: str(value) for name, value in settings.items()}}
        for name in ("HOME", "PATH", "SEMCACHE_CACHE_DIR", "XDG_CACHE_HOME"):
            if name in os.environ:
                env[name] = os.environ[name]
        self.world = world
        program = world.start([SEMCACHED], r" server\.ready .*?\bport=(\d+)", env)
        super().__init__(program, int(program.found.group(1)))

    def stats(self):
        """Nothing when the server is too busy to be asked."""
        run = subprocess.run([CLI, "--target", f"127.0.0.1:{self.port}", "--json", "stats"],
                             stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return json.loads(run.stdout) if run.returncode == 0 else {}

    def is_written(self):
        redis = self.stats().get("redis", {})
        return bool(redis) and number(redis, "writes_waiting") + number(redis, "queue_depth") == 0

    def wait_warm(self, entries):
        wait_until(f"{entries} entries in memory",
                   lambda: number(self.stats(), "warm", "entries") >= entries)

    def wait_written(self):
        """Until Redis has everything: its indexing must not spill into the next figure."""
        wait_until("Redis to have all writes", self.is_written, seconds=180, step=0.2)

    def stop(self):
        self.world.stop(self.program)


def number(tree, *path):
    for name in path:
        tree = tree.get(name, 0) if isinstance(tree, dict) else 0
    return float(tree or 0)
