"""Load over HTTP/1.1 for the peers: closed loop, or due at fixed times (latency counts from then)."""

import asyncio
import json
import time


class Result:
    def __init__(self):
        self.answers, self.latencies, self.seconds = [], [], 0.0

    def quantile_us(self, part):
        values = sorted(self.latencies)
        return values[min(len(values) - 1, int(part * len(values)))] * 1e6

    @property
    def p50_us(self):
        return self.quantile_us(0.5)

    @property
    def p99_us(self):
        return self.quantile_us(0.99)

    @property
    def per_second(self):
        return len(self.answers) / self.seconds


def run(port, path, body_of, callers, requests, rate=None):
    """body_of(n) gives the nth question's JSON; rate: questions per second, None for closed loop."""
    return asyncio.run(drive(port, path, body_of, callers, requests, rate))


async def drive(port, path, body_of, callers, requests, rate):
    result, numbers = Result(), iter(range(requests))
    begin = time.monotonic()

    async def caller():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for n in numbers:
            due = time.monotonic()
            if rate:
                due = begin + n / rate
                await asyncio.sleep(due - time.monotonic())
            result.answers.append(await ask(reader, writer, path, body_of(n)))
            result.latencies.append(time.monotonic() - due)
        writer.close()

    await asyncio.gather(*(caller() for _ in range(callers)))
    result.seconds = time.monotonic() - begin
    return result


async def ask(reader, writer, path, body):
    data = json.dumps(body).encode()
    writer.write(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                 b"Content-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    answer = await reader.readexactly(length)
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise RuntimeError(f"{path}: {head[:60]} {answer[:200]}")
    return answer
