"""Latency against load: each path at fixed parts of what it bears, callers coming as they like."""

from suite.serving import FRESH_BELOW, NO_STORE, sample


def series(rig, plan, tutorial):
    found = {"gRPC echo": curve(lambda **o: sample(rig.echo, None, 256, **o), plan),
             "exact hit": curve(lambda **o: rig.exact(256, **o), plan),
             "warm hit": curve(lambda **o: rig.warm_given(256, **o), plan),
             "miss, LLM at 0 ms": curve(lambda **o: missing(rig, **o), plan)}
    if tutorial is not None:
        found["tutorial's service (hit)"] = peer_curve(tutorial, plan)
    return found


def missing(rig, **options):
    return sample(rig.asking, "llm", 256, question=rig.unseen(), distinct=FRESH_BELOW,
                  cache_mode=NO_STORE, **options)


def curve(ask, plan):
    # The closed loop's 256 callers saturate it; that rate is what it can bear.
    most = ask(seconds=plan.seconds)["per_second"]
    points = []
    for part in plan.loads:
        got = ask(seconds=plan.seconds, rate=part * most, warmup=0.3)
        points.append((got["per_second"], got["p50_us"], got["p99_us"]))
    return points


def peer_curve(tutorial, plan):
    most = tutorial.ask(16).per_second
    points = []
    for part in plan.loads:
        requests = max(10, int(part * most * 2 * plan.seconds))
        got = tutorial.ask(64, requests, part * most)
        points.append((got.per_second, got.p50_us, got.p99_us))
    return points
