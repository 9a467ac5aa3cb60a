"""The server as programs see it that were written elsewhere: Python's grpcio with code generated
from our .proto files, and grpcurl with no .proto at all.

usage: interop.py CACHE_FOLDER     from the root of the tree; prints cmocka's lines
"""

import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import grpc
from grpc_tools import protoc

CACHE = pathlib.Path(sys.argv[1])
PROTOS = [
    "semcache/v1/semantic_cache.proto",
    "grpc/health/v1/health.proto",
    "grpc/reflection/v1alpha/reflection.proto",
]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class World:
    """Redis, a scripted upstream and the server, in a folder of their own."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        self.started = []

    def start(self, words, ready, **environment):
        """Starts a program, and gives the match of `ready` in what it prints."""
        log = self.folder / (pathlib.Path(words[0]).name + ".log")
        with open(log, "wb") as out:
            self.started.append(subprocess.Popen(
                words, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, **environment}))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            found = re.search(ready, log.read_text(errors="replace"))
            if found:
                return found
            if self.started[-1].poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{words[0]} did not start:\n{log.read_text(errors='replace')}")

    def up(self):
        redis = free_port()
        self.start([str(CACHE / "redis/redis-server"), "--port", str(redis), "--bind", "127.0.0.1",
                    "--save", "", "--dir", str(self.folder),
                    "--loadmodule", str(CACHE / "redis/redisearch.so")],
                   "Ready to accept connections", LD_LIBRARY_PATH=str(CACHE / "redis/stub"))
        upstream = self.start(["tests/support/upstream/upstream", "--dim", "64"], r"(http://\S+)")[1]
        port = self.start(["server/semcached"], r"server\.ready .*?port=(\d+)",
                          LISTEN="127.0.0.1:0", REDIS_URL=f"redis://127.0.0.1:{redis}",
                          OPENAI_BASE_URL=upstream, OPENAI_API_KEY="sk-test",
                          EMBEDDING_PROVIDER="openai", EMBEDDING_DIM="64")[1]
        self.target = f"127.0.0.1:{port}"

    def down(self):
        codes = []
        for process in reversed(self.started):
            process.terminate()
            codes.append(process.wait(20))
        shutil.rmtree(self.folder, ignore_errors=True)
        return codes


world = World()


def generate():
    """Imports the code that protoc makes of our files."""
    out = world.folder / "generated"
    out.mkdir()
    status = protoc.main(["protoc", "-Iproto", f"--python_out={out}", f"--grpc_python_out={out}"] + PROTOS)
    assert status == 0
    sys.path.insert(0, str(out))
    # `grpc` is a package of its own: its folders of generated code are added to it.
    grpc.__path__.append(str(out / "grpc"))
    global pb, pb_grpc, health, health_grpc, reflection, reflection_grpc
    from semcache.v1 import semantic_cache_pb2 as pb, semantic_cache_pb2_grpc as pb_grpc
    from grpc.health.v1 import health_pb2 as health, health_pb2_grpc as health_grpc
    from grpc.reflection.v1alpha import reflection_pb2 as reflection
    from grpc.reflection.v1alpha import reflection_pb2_grpc as reflection_grpc


def cache():
    return pb_grpc.SemanticCacheStub(grpc.insecure_channel(world.target))


def failure(call):
    """The error of a call that must fail."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def grpcurl(*words, data=None, check=True):
    command = [str(CACHE / "bin/grpcurl"), "-plaintext"]
    if data is not None:
        command += ["-d", json.dumps(data)]
    done = subprocess.run(command + list(words), capture_output=True, text=True, timeout=30)
    if check and done.returncode != 0:
        raise AssertionError(done.stderr)
    return done


# ---- cases: a function's name is the promise ------------------------------------------------------


def python_gets_an_answer_then_the_same_from_the_cache():
    stub = cache()
    request = pb.AnswerRequest(user_prompt="Where is the harbour?", temperature=0, tags=["maps"])
    first = stub.Answer(request, timeout=20)
    again = stub.Answer(request, timeout=20)
    assert first.source == pb.SOURCE_LLM and again.source == pb.SOURCE_EXACT, (first, again)
    assert first.answer == again.answer != ""
    assert again.decision == pb.DECISION_HIT and again.matched_prompt == "Where is the harbour?"
    assert again.tokens_saved == first.usage.total_tokens > 0
    assert len(again.entry_id) == 64


def python_large_answers_and_other_scripts_come_back_whole():
    stub = cache()
    prompt = "Grüße, 你好, 👋: " + "wort " * 10000
    first = stub.Answer(pb.AnswerRequest(user_prompt=prompt), timeout=20)
    again = stub.Answer(pb.AnswerRequest(user_prompt=prompt), timeout=20)
    assert again.source == pb.SOURCE_EXACT and again.matched_prompt == prompt
    assert again.answer == first.answer


def python_presence_of_zero_is_kept():
    stub = cache()
    warm = pb.AnswerRequest(user_prompt="What does shipping cost?", temperature=0.5)
    assert stub.Answer(warm, timeout=20).source == pb.SOURCE_LLM
    zero = pb.AnswerRequest(user_prompt="What does shipping cost?", temperature=0)
    assert stub.Answer(zero, timeout=20).source == pb.SOURCE_LLM, "0 is another temperature"


def python_errors_name_field_and_bound():
    error = failure(lambda: cache().Answer(pb.AnswerRequest(), timeout=20))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "user_prompt" in error.details()
    error = failure(lambda: cache().Answer(
        pb.AnswerRequest(user_prompt="x", max_distance=3), timeout=20))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and "max_distance" in error.details()
    error = failure(lambda: cache().Answer(pb.AnswerRequest(
        user_prompt="never asked", cache_mode=pb.CACHE_MODE_ONLY_IF_CACHED), timeout=20))
    assert error.code() == grpc.StatusCode.NOT_FOUND


def python_compressed_requests_are_refused():
    error = failure(lambda: cache().Answer(
        pb.AnswerRequest(user_prompt="x" * 1000), timeout=20, compression=grpc.Compression.Gzip))
    assert error.code() == grpc.StatusCode.UNIMPLEMENTED, error


def python_invalidates_what_it_stored():
    stub = cache()
    request = pb.AnswerRequest(user_prompt="How old is the bridge?", tags=["bridge"])
    stub.Answer(request, timeout=20)
    assert stub.Answer(request, timeout=20).source == pb.SOURCE_EXACT
    look = pb.InvalidateRequest(tags=["bridge"], dry_run=True)
    shown = stub.Invalidate(look, timeout=20)
    deadline = time.monotonic() + 5
    while shown.removed == 0 and time.monotonic() < deadline:  # the write may be on its way
        time.sleep(0.02)
        shown = stub.Invalidate(look, timeout=20)
    assert shown.removed == 1 and shown.examples[0].prompt == "How old is the bridge?", shown
    assert stub.Invalidate(pb.InvalidateRequest(tags=["bridge"]), timeout=20).removed == 1
    assert stub.Answer(request, timeout=20).source == pb.SOURCE_LLM
    error = failure(lambda: stub.Invalidate(pb.InvalidateRequest(), timeout=20))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT


def python_stats_add_up():
    s = cache().Stats(pb.StatsRequest(), timeout=20).since_start
    parts = s.exact + s.warm + s.redis + s.joined + s.llm + s.not_found + s.failed + s.cancelled
    assert s.requests == parts > 0, s


def python_health_is_serving_and_can_be_watched():
    stub = health_grpc.HealthStub(grpc.insecure_channel(world.target))
    serving = health.HealthCheckResponse.SERVING
    for service in ("", "semcache.v1.SemanticCache"):
        assert stub.Check(health.HealthCheckRequest(service=service), timeout=5).status == serving
    watch = stub.Watch(health.HealthCheckRequest(), timeout=5)
    assert next(watch).status == serving
    watch.cancel()
    error = failure(lambda: stub.Check(health.HealthCheckRequest(service="no.Such"), timeout=5))
    assert error.code() == grpc.StatusCode.NOT_FOUND


def python_reflection_v1alpha_answers_many_questions_on_one_stream():
    stub = reflection_grpc.ServerReflectionStub(grpc.insecure_channel(world.target))
    ask = reflection.ServerReflectionRequest
    replies = list(stub.ServerReflectionInfo(iter([
        ask(list_services=""),
        ask(file_containing_symbol="semcache.v1.SemanticCache.Answer"),
        ask(file_by_filename="no/such.proto"),
    ]), timeout=5))
    names = [service.name for service in replies[0].list_services_response.service]
    assert "semcache.v1.SemanticCache" in names, names
    assert len(replies[1].file_descriptor_response.file_descriptor_proto) == 1
    assert replies[2].error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def python_many_calls_on_one_channel_all_come_back():
    stub = cache()
    calls = [stub.Answer.future(pb.AnswerRequest(user_prompt=f"Question {i % 50}?"), timeout=20)
             for i in range(500)]
    answers = {}
    for i, call in enumerate(calls):
        answers.setdefault(i % 50, set()).add(call.result().answer)
    assert all(len(texts) == 1 for texts in answers.values())


def grpcurl_lists_and_describes_without_proto_files():
    listed = grpcurl(world.target, "list").stdout.split()
    for service in ("semcache.v1.SemanticCache", "grpc.health.v1.Health",
                    "grpc.reflection.v1.ServerReflection"):
        assert service in listed, listed
    described = grpcurl(world.target, "describe", "semcache.v1.SemanticCache").stdout
    for method in ("Answer", "Stats", "Invalidate"):
        assert f"rpc {method}" in described, described
    assert "user_prompt" in grpcurl(world.target, "describe", "semcache.v1.AnswerRequest").stdout


def grpcurl_calls_all_three_methods():
    service = "semcache.v1.SemanticCache/"
    question = {"user_prompt": "Is there a discount for students?", "tags": ["price"]}
    first = json.loads(grpcurl(world.target, service + "Answer", data=question).stdout)
    again = json.loads(grpcurl(world.target, service + "Answer", data=question).stdout)
    assert (first["source"], again["source"]) == ("SOURCE_LLM", "SOURCE_EXACT")
    stats = json.loads(grpcurl(world.target, service + "Stats").stdout)
    assert int(stats["sinceStart"]["requests"]) > 0
    removed = json.loads(grpcurl(world.target, service + "Invalidate", data={"tags": ["price"]}).stdout)
    assert removed["removed"] == "1"


def grpcurl_shows_the_error():
    done = grpcurl(world.target, "semcache.v1.SemanticCache/Answer", data={}, check=False)
    assert done.returncode != 0 and "InvalidArgument" in done.stderr and "user_prompt" in done.stderr


def protoc_of_other_languages_takes_the_contract():
    for language in ("cpp", "java", "csharp", "objc", "php", "ruby", "python"):
        out = world.folder / language
        out.mkdir()
        done = subprocess.run(["protoc", "-Iproto", f"--{language}_out={out}", PROTOS[0]],
                              capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", (language, done.stderr)


CASES = [value for value in list(globals().values())
         if callable(value) and getattr(value, "__name__", "").split("_")[0] in ("python", "grpcurl", "protoc")
         and getattr(value, "__module__", "") == "__main__" and value is not grpcurl]


def main():
    failed = 0
    try:
        world.up()
        generate()
        for case in CASES:
            print(f"[ RUN      ] {case.__name__}", flush=True)
            try:
                case()
                print(f"[       OK ] {case.__name__}", flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"[  FAILED  ] {case.__name__}", flush=True)
    finally:
        codes = world.down()
    if codes[0] != 0:
        print(f"[  FAILED  ] the_server_ends_with_code_0 ({codes[0]})")
        failed += 1
    return failed != 0


sys.exit(main())
