"""Latency against load as an SVG: one line per path, p50 solid and p99 dashed, both axes logarithmic."""

import math

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 74, 210, 46, 58
COLOURS = ("#1b6ca8", "#2e8b57", "#c0792a", "#a23b72", "#555555")


class Axis:
    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(min(values)))
        self.high = math.ceil(math.log10(max(values)))
        if self.high == self.low:
            self.high += 1
        self.start, self.end = start, end

    def at(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)

    def decades(self):
        return [10.0 ** e for e in range(self.low, self.high + 1)]


def human(value, unit_small, unit_large):
    if value >= 1000:
        return f"{value / 1000:g} {unit_large}"
    return f"{value:g} {unit_small}"


def text(x, y, words, **more):
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{words}</text>'


def line(x1, y1, x2, y2, **more):
    attributes = "".join(f' {k.replace("_", "-")}="{v}"' for k, v in more.items())
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"{attributes}/>'


def curve(points, x, y, colour, dashed):
    path = " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    dots = "" if dashed else "".join(
        f'<circle cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3" fill="{colour}"/>' for a, b in points)
    return (f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
            + dots)


def draw(series, subtitle):
    """series: {name: [(questions per second, p50 us, p99 us)]}, by rising load."""
    points = [p for line_of in series.values() for p in line_of]
    x = Axis([p[0] for p in points], LEFT, WIDTH - RIGHT)
    y = Axis([v for p in points for v in p[1:]], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
             'font-family="sans-serif" font-size="12" fill="#222">',
             f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
             text(LEFT, 20, "Latency against load", font_size=16, font_weight="bold"),
             text(LEFT, 36, subtitle, fill="#666")]
    parts += grid(x, y) + legend(series)
    for colour, points_of in zip(COLOURS, series.values()):
        parts.append(curve([(p[0], p[1]) for p in points_of], x, y, colour, False))
        parts.append(curve([(p[0], p[2]) for p in points_of], x, y, colour, True))
    return "\n".join(parts + ["</svg>", ""])


def grid(x, y):
    parts = []
    for value in x.decades():
        at = x.at(value)
        parts += [line(at, TOP, at, HEIGHT - BOTTOM, stroke="#ddd"),
                  text(at, HEIGHT - BOTTOM + 18, human(value, "", "k").strip(), text_anchor="middle")]
    for value in y.decades():
        at = y.at(value)
        parts += [line(LEFT, at, WIDTH - RIGHT, at, stroke="#ddd"),
                  text(LEFT - 8, at + 4, human(value, "µs", "ms"), text_anchor="end")]
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, "questions per second",
                      text_anchor="middle"))
    return parts


def legend(series):
    parts, at, left = [], TOP + 10, WIDTH - RIGHT + 18
    for colour, name in zip(COLOURS, series):
        parts += [line(left, at, left + 24, at, stroke=colour, stroke_width=2),
                  text(left + 30, at + 4, name)]
        at += 20
    parts += [line(left, at + 10, left + 24, at + 10, stroke="#222", stroke_width=2),
              text(left + 30, at + 14, "p50"),
              line(left, at + 30, left + 24, at + 30, stroke="#222", stroke_width=2,
                   stroke_dasharray="5 4"),
              text(left + 30, at + 34, "p99")]
    return parts
