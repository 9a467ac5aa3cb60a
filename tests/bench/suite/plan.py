"""How much is measured: the whole run takes minutes, the quick one seconds."""

import dataclasses


@dataclasses.dataclass
class Plan:
    quick: bool
    rounds: int = 3
    seconds: float = 1.0
    callers: tuple = (1, 16, 64, 256)
    entries: int = 10000
    misses: int = 1000
    local_entries: int = 500
    start_entries: int = 50000
    in_flight: int = 10000
    idle_connections: int = 1000
    peer_requests: int = 300
    loads: tuple = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)


def whole():
    return Plan(quick=False)


def quick():
    return Plan(quick=True, rounds=1, seconds=0.2, callers=(1, 16), entries=2000, misses=50,
                local_entries=20, start_entries=300, in_flight=200, idle_connections=50,
                peer_requests=20, loads=(0.3, 0.6))
