"""Figures: median and spread of rounds, rows with what they stand beside, the table, comparisons."""

import dataclasses
import statistics


@dataclasses.dataclass
class Row:
    group: str
    path: str
    at: str                # concurrency, shape
    value: float           # ours, median of the rounds
    unit: str
    low: float = None      # of ours: smallest and largest round
    high: float = None
    reference: str = ""    # what it stands beside
    beside: float = None   # its median
    ratio: float = None    # median of the rounds' ratios: each round measures both
    ratio_low: float = None
    ratio_high: float = None
    goal: float = None     # the ratio's (the value's, without a reference) upper bound
    at_least: bool = False  # the goal is a lower bound
    p50_us: float = None
    p99_us: float = None
    note: str = ""

    @property
    def key(self):
        return (self.group, self.path, self.at)

    @property
    def judged(self):
        return self.ratio if self.ratio is not None else self.value

    @property
    def reached(self):
        if self.goal is None or self.judged is None:
            return None
        return self.judged >= self.goal if self.at_least else self.judged <= self.goal


def median(values):
    return statistics.median(values)


def row(group, path, at, unit, ours, reference="", theirs=None, **more):
    """ours and theirs: one figure per round, both of the same round at the same place."""
    made = Row(group, path, str(at), median(ours), unit, min(ours), max(ours), **more)
    if theirs:
        ratios = [a / b for a, b in zip(ours, theirs) if b > 0]
        made.reference, made.beside = reference, median(theirs)
        if ratios:
            made.ratio, made.ratio_low, made.ratio_high = median(ratios), min(ratios), max(ratios)
    return made


def short(value):
    if value is None:
        return ""
    size = abs(value)
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if size < 100 else f"{value:.1f}"


def spread(low, high):
    return "" if low is None or low == high else f"{short(low)}..{short(high)}"


def sentence_of(r):
    if r.goal is None:
        return ""
    sign = ">=" if r.at_least else "<="
    return f"{sign} {short(r.goal)} {'yes' if r.reached else 'NO'}"


COLUMNS = ("path", "at", "ours", "spread", "unit", "beside", "of", "ratio", "spread", "goal",
           "p50 us", "p99 us", "remark")


def cells(r):
    return (r.path, r.at, short(r.value), spread(r.low, r.high), r.unit, short(r.beside),
            r.reference, short(r.ratio), spread(r.ratio_low, r.ratio_high), sentence_of(r),
            short(r.p50_us), short(r.p99_us), r.note)


def table(rows):
    """Plain text, one part per group; only the columns that a group uses."""
    lines = []
    for group in dict.fromkeys(r.group for r in rows):
        body = [cells(r) for r in rows if r.group == group]
        used = [i for i in range(len(COLUMNS)) if any(line[i] for line in body)]
        lines += ["", group] + aligned([[COLUMNS[i] for i in used]]
                                       + [[line[i] for i in used] for line in body])
    return "\n".join(lines)


def aligned(grid):
    widths = [max(len(line[i]) for line in grid) for i in range(len(grid[0]))]
    return ["  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
            for line in grid]


def markdown(rows):
    lines = []
    for group in dict.fromkeys(r.group for r in rows):
        body = [cells(r) for r in rows if r.group == group]
        used = [i for i in range(len(COLUMNS)) if any(line[i] for line in body)]
        lines += ["", f"### {group}", "",
                  "| " + " | ".join(COLUMNS[i] for i in used) + " |", "|---" * len(used) + "|"]
        lines += ["| " + " | ".join(line[i] for i in used) + " |" for line in body]
    return "\n".join(lines) + "\n"


def goals(rows):
    """Every row that has a goal, the missed ones first."""
    judged = sorted((r for r in rows if r.reached is not None), key=lambda r: r.reached)
    lines = ["", "### Goals", "",
             f"{sum(r.reached for r in judged)} of {len(judged)} rows with a goal reach it.", "",
             "| path | at | figure | spread | goal |", "|---|---|---|---|---|"]
    for r in judged:
        low, high = (r.low, r.high) if r.ratio is None else (r.ratio_low, r.ratio_high)
        unit = r.unit if r.ratio is None else "x " + r.reference
        lines.append(f"| {r.path} | {r.at} | {short(r.judged)} {unit} | {spread(low, high)} | "
                     f"{sentence_of(r)} |")
    return "\n".join(lines) + "\n"


def as_json(rows):
    return [dataclasses.asdict(r) for r in rows]


def changes(rows, before):
    """What differs from an earlier run by more than both spreads explain."""
    old = {(r["group"], r["path"], r["at"]): Row(**r) for r in before}
    grid = [["path", "at", "was", "is", "unit", "change", ""]]
    for r in rows:
        was = old.get(r.key)
        if was is None or not was.judged or r.judged is None:
            continue
        # A ratio where there is one: it survives another machine, and a busy one.
        change = r.judged / was.judged - 1
        unit = "x " + r.reference if r.ratio is not None else r.unit
        grid.append([r.path, r.at, short(was.judged), short(r.judged), unit, f"{change:+.0%}",
                     "" if overlap(r, was) else "changed"])
    return "\n".join(aligned(grid))


def overlap(a, b):
    def ends(r):
        if r.ratio is not None:
            return r.ratio_low, r.ratio_high
        return r.low, r.high
    (a_low, a_high), (b_low, b_high) = ends(a), ends(b)
    if None in (a_low, a_high, b_low, b_high):
        return abs(a.judged / b.judged - 1) < 0.1
    return a_low <= b_high and b_low <= a_high
