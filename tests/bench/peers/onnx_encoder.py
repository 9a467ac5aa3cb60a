"""ONNX Runtime on the weights of all-MiniLM-L6-v2: CPU and wall time per pass, as lines of JSON.

usage: python onnx_encoder.py MODEL.safetensors SECONDS

Each line of its input asks for a round of all passes; an empty line ends it, so that whoever asks
can measure something else in between.

There is no ONNX file of the pinned weights, so the graph is written here, with the fused operators
(attention, skip + layer norm, GELU) that ONNX Runtime's own optimiser would put in: its best case.
"""

import json
import os
import statistics
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

LAYERS, DIM, HEADS, EPSILON = 6, 384, 12, 1e-12
PASSES = (("1 question", 1, 12), ("8 questions", 8, 12), ("32 questions", 32, 12),
          ("128 questions", 128, 12), ("1 text of 128", 1, 128), ("1 text of 256", 1, 256))


def read_safetensors(path):
    with open(path, "rb") as file:
        data = file.read()
    size = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:8 + size]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[8 + size + begin:8 + size + end],
                                          np.float32).reshape(entry["shape"])
    return tensors


class Graph:
    def __init__(self, weights):
        self.weights, self.nodes, self.tensors = weights, [], {}

    def tensor(self, name, value):
        self.tensors[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def weight(self, name):
        return self.tensor(name, self.weights[name])

    def node(self, kind, inputs, output, domain="", **attributes):
        outputs = [output] if isinstance(output, str) else output
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **attributes))
        return output

    def linear(self, x, name, output):
        matrix = self.tensor(name + ".t", self.weights[name + ".weight"].T)
        return self.node("MatMul", [x, matrix], output), self.weight(name + ".bias")

    def add_norm(self, x, skip, bias, name, output):
        return self.node("SkipLayerNormalization",
                         [x, skip, self.weight(name + ".weight"), self.weight(name + ".bias"), bias],
                         output, "com.microsoft", epsilon=EPSILON)

    def layer(self, n, x):
        base, own = f"encoder.layer.{n}.", f"l{n}."
        attention = base + "attention.self."
        parts = ("query", "key", "value")
        matrix = np.concatenate([self.weights[f"{attention}{p}.weight"].T for p in parts], axis=1)
        bias = np.concatenate([self.weights[f"{attention}{p}.bias"] for p in parts])
        seen = self.node("Attention", [x, self.tensor(own + "qkv", matrix),
                                       self.tensor(own + "qkv.bias", bias), "lengths"],
                         own + "attended", "com.microsoft", num_heads=HEADS)
        dense, bias = self.linear(seen, base + "attention.output.dense", own + "dense")
        x = self.add_norm(dense, x, bias, base + "attention.output.LayerNorm", own + "normed")
        wide, bias = self.linear(x, base + "intermediate.dense", own + "wide")
        wide = self.node("BiasGelu", [wide, bias], own + "gelu", "com.microsoft")
        narrow, bias = self.linear(wide, base + "output.dense", own + "narrow")
        return self.add_norm(narrow, x, bias, base + "output.LayerNorm", own + "out")

    def build(self):
        self.node("EmbedLayerNormalization",
                  ["ids", "types", self.weight("embeddings.word_embeddings.weight"),
                   self.weight("embeddings.position_embeddings.weight"),
                   self.weight("embeddings.token_type_embeddings.weight"),
                   self.weight("embeddings.LayerNorm.weight"),
                   self.weight("embeddings.LayerNorm.bias"), "mask"], ["x0", "lengths"],
                  "com.microsoft", epsilon=EPSILON)
        x = "x0"
        for n in range(LAYERS):
            x = self.layer(n, x)
        self.node("ReduceMean", [x], "mean", axes=[1], keepdims=0)
        self.node("LpNormalization", ["mean"], "vector", axis=1, p=2)
        integers = [helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"])
                    for name in ("ids", "types", "mask")]
        out = helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", DIM])
        graph = helper.make_graph(self.nodes, "encoder", integers, [out], list(self.tensors.values()))
        return helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])


def session_of(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure(session, texts, tokens, seconds):
    ids = (1000 + np.arange(texts * tokens) * 104729 % 20000).reshape(texts, tokens)
    ids[:, 0], ids[:, -1] = 101, 102
    feed = {"ids": ids.astype(np.int32), "types": np.zeros((texts, tokens), np.int32),
            "mask": np.ones((texts, tokens), np.int32)}
    session.run(None, feed)
    cpus, walls, end = [], [], time.monotonic() + seconds
    while not cpus or time.monotonic() < end:
        cpu, wall = time.process_time(), time.monotonic()
        session.run(None, feed)
        cpus.append(time.process_time() - cpu)
        walls.append(time.monotonic() - wall)
    return statistics.median(cpus) * 1e3, statistics.median(walls) * 1e3


def report(sessions, seconds):
    for (weights, threads), session in sessions.items():
        for name, texts, tokens in PASSES:
            cpu, wall = measure(session, texts, tokens, seconds)
            print(json.dumps({"weights": weights, "pass": name, "threads": threads, "cpu_ms": cpu,
                              "wall_ms": wall}))
    print(flush=True)


def open_sessions(path):
    model = Graph(read_safetensors(path)).build()
    with tempfile.TemporaryDirectory() as folder:
        exact, rough = os.path.join(folder, "float32.onnx"), os.path.join(folder, "int8.onnx")
        onnx.save(model, exact)
        quantize_dynamic(exact, rough, weight_type=QuantType.QInt8,
                         extra_options={"DefaultTensorType": TensorProto.FLOAT})
        return {(weights, threads): session_of(file, threads)
                for weights, file in (("float32", exact), ("int8", rough)) for threads in (1, 2)}


def main():
    sessions = open_sessions(sys.argv[1])
    for _ in sys.stdin:
        report(sessions, float(sys.argv[2]))


if __name__ == "__main__":
    main()
