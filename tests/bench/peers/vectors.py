"""The vectors of texts, from the upstream that the cache itself asks."""

import base64
import json
import os
import urllib.request

import numpy as np

BASE = os.environ["OPENAI_BASE_URL"].removesuffix("/v1")
DIM = int(os.environ["EMBEDDING_DIM"])


def embed(texts):
    body = json.dumps({"model": "text-embedding-3-small", "input": texts, "dimensions": DIM,
                       "encoding_format": "base64"}).encode()
    request = urllib.request.Request(BASE + "/v1/embeddings", body, {
        "Content-Type": "application/json",
        "Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
    with urllib.request.urlopen(request) as reply:
        data = json.load(reply)["data"]
    data.sort(key=lambda item: item["index"])
    return np.array([np.frombuffer(base64.b64decode(item["embedding"]), np.float32)
                     for item in data])


def word(n):
    """A number in letters, as the load client writes it."""
    return "".join("bcdfghjklm"[int(digit)] for digit in str(n))


def stored(n):
    return f"what is the price of article {word(n)}"


def paraphrase(n):
    return f"tell me what article {word(n)} costs"


def embed_all(texts, at_once=256):
    return np.concatenate([embed(texts[i:i + at_once]) for i in range(0, len(texts), at_once)])
