"""The service that a tutorial on semantic caching builds, in one file: FastAPI, redis-py, numpy.

    python tutorial.py fill COUNT     creates the index and stores COUNT questions
    python tutorial.py serve          POST /ask {"question": ...}

What a question costs there: canonical text by regular expressions, one call of the embeddings
endpoint, FT.SEARCH with KNN 5 behind a filter on the model's tag, a look at the nearest distance,
and on a hit HSET of last_hit_at into the entry.
"""

import hashlib
import os
import re
import sys
import time

import httpx
import numpy as np
import redis
import redis.asyncio
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from redis.commands.search.field import NumericField, TagField, TextField, VectorField
from redis.commands.search.query import Query

try:
    from redis.commands.search.index_definition import IndexDefinition, IndexType
except ImportError:  # redis-py before 6
    from redis.commands.search.indexDefinition import IndexDefinition, IndexType

import vectors

INDEX, PREFIX, MODEL = "tutorial:idx", "tutorial:", "gpt-4o-mini"
THRESHOLD = float(os.environ["SIMILARITY_THRESHOLD"])
TTL_SECONDS = 86400

app = FastAPI()
store = redis.asyncio.from_url(os.environ["REDIS_URL"])
upstream = httpx.AsyncClient(timeout=10)


class Question(BaseModel):
    question: str


UUID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
TIMESTAMP = re.compile(r"\b\d{4}-\d{2}-\d{2}t\d{2}:\d{2}:\d{2}\S*")
LONG_NUMBER = re.compile(r"\b\d{6,}\b")
SPACE = re.compile(r"\s+")


def canonical(text):
    text = text.strip().lower()
    for pattern in (TIMESTAMP, UUID, LONG_NUMBER):
        text = pattern.sub("", text)
    return SPACE.sub(" ", text).strip(" .?!")


async def embed(text):
    reply = await upstream.post(vectors.BASE + "/v1/embeddings",
                                json={"model": "text-embedding-3-small", "input": text,
                                      "dimensions": vectors.DIM},
                                headers={"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]})
    vector = np.array(reply.json()["data"][0]["embedding"], dtype=np.float32)
    return (vector / np.linalg.norm(vector)).astype(np.float32).tobytes()


def nearest_query():
    return (Query(f"(@model:{{{MODEL.replace('-', chr(92) + '-')}}})=>[KNN 5 @vector $vector AS distance]")
            .sort_by("distance").return_fields("prompt", "answer", "distance").dialect(2))


@app.post("/ask")
async def ask(question: Question):
    vector = await embed(canonical(question.question))
    found = await store.ft(INDEX).search(nearest_query(), query_params={"vector": vector})
    if found.docs and float(found.docs[0].distance) < THRESHOLD:
        best = found.docs[0]
        await store.hset(best.id, "last_hit_at", time.time())
        return {"hit": True, "answer": best.answer, "distance": float(best.distance),
                "matched": best.prompt}
    return {"hit": False, "answer": None}


def fill(count):
    client = redis.Redis.from_url(os.environ["REDIS_URL"])
    schema = (TextField("prompt"), TagField("model"), NumericField("created_at"),
              VectorField("vector", "HNSW", {"TYPE": "FLOAT32", "DIM": vectors.DIM,
                                             "DISTANCE_METRIC": "COSINE"}))
    client.ft(INDEX).create_index(schema, definition=IndexDefinition([PREFIX], index_type=IndexType.HASH))
    texts = [vectors.stored(n) for n in range(count)]
    pipe = client.pipeline(transaction=False)
    for text, vector in zip(texts, vectors.embed_all(texts)):
        key = PREFIX + hashlib.sha256(text.encode()).hexdigest()
        pipe.hset(key, mapping={"prompt": text, "answer": "The answer to: " + text, "model": MODEL,
                                "created_at": time.time(), "vector": vector.tobytes()})
        pipe.expire(key, TTL_SECONDS)
        if len(pipe) >= 400:
            pipe.execute()
    pipe.execute()


def serve():
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    print("listening on", listener.getsockname()[1], flush=True)
    server.run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        fill(int(sys.argv[2]))
    else:
        serve()
