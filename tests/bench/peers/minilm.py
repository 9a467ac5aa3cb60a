"""Texts to unit vectors by ONNX Runtime on the weights of all-MiniLM-L6-v2: what the peers get as
their vectoriser, since their own fetch models from a hub."""

import os
import tempfile

import numpy as np
import onnx
import onnxruntime
from tokenizers import BertWordPieceTokenizer

import onnx_encoder


class Encoder:
    """threads: 0 leaves ONNX Runtime its default, a thread for each core."""

    def __init__(self, folder, threads):
        self.tokenizer = BertWordPieceTokenizer(os.path.join(folder, "vocab.txt"), lowercase=True)
        model = onnx_encoder.Graph(
            onnx_encoder.read_safetensors(os.path.join(folder, "model.safetensors"))).build()
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            onnx.save(model, file.name)
            self.session = onnx_encoder.session_of(file.name, threads)

    def embed(self, text):
        ids = np.array([self.tokenizer.encode(text).ids], np.int32)
        return self.session.run(None, {"ids": ids, "types": np.zeros_like(ids),
                                       "mask": np.ones_like(ids)})[0][0]
