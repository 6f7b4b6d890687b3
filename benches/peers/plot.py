"""Panels of lines, on logarithmic or linear axes, as SVG."""

import math
from html import escape

WIDTH, HEIGHT = 270, 210  # of one panel
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 30, 40  # around its axes
COLOURS = ("#1f6feb", "#d4580a", "#2e7d32")


def powers(low, high, most=6):
    """Of two where there are few in between, of four or ten otherwise."""
    for base in (2, 4, 10):
        first, last = math.ceil(math.log(low, base) - 1e-9), math.floor(math.log(high, base) + 1e-9)
        if last - first < most:
            break
    return [base**e for e in range(first, last + 1)]


def steps(high, most=6):
    """Multiples from zero of the least 1, 2 or 5 times a power of ten that makes few of them."""
    unit = 10 ** math.floor(math.log10(high / most))
    step = next(unit * k for k in (1, 2, 5, 10, 20) if high < unit * k * most)
    return [step * n for n in range(math.floor(high / step) + 1)]


def label(value):
    return f"{value:g}"


class Logarithmic:
    def __init__(self, values, start, end):
        low, high = min(values), max(values)
        margin = (high / low) ** 0.06 if high > low else 1.5
        self.low, self.high, self.start, self.end = low / margin, high * margin, start, end

    def __call__(self, value):
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self):
        return powers(self.low, self.high)


class Linear:
    """From zero."""

    def __init__(self, values, start, end):
        self.high, self.start, self.end = max(values) * 1.06, start, end

    def __call__(self, value):
        return round(self.start + value / self.high * (self.end - self.start), 1)

    def ticks(self):
        return steps(self.high)


def panel(title, x_name, lines, axis=Logarithmic):
    """`lines` maps a name to its points (x, y), all greater than zero."""
    xs, ys = zip(*(point for points in lines.values() for point in points))
    x, y = axis(xs, LEFT, WIDTH - RIGHT), axis(ys, HEIGHT - BOTTOM, TOP)
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = [f'<text x="{LEFT}" y="16" font-weight="bold">{escape(title)}</text>']
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_name)}</text>')
    for value in x.ticks():
        parts.append(f'<path d="M{x(value)} {TOP}V{bottom}" stroke="#ddd"/>')
        parts.append(f'<text x="{x(value)}" y="{bottom + 15}" text-anchor="middle">{label(value)}</text>')
    for value in y.ticks():
        parts.append(f'<path d="M{LEFT} {y(value)}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y(value) + 4}" text-anchor="end">{label(value)}</text>')
    for at, (name, points) in enumerate(lines.items()):
        colour = COLOURS[at % len(COLOURS)]
        path = " ".join(f"{x(a)},{y(b)}" for a, b in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
        parts += [f'<circle cx="{x(a)}" cy="{y(b)}" r="2.6" fill="{colour}"/>' for a, b in points]
        parts.append(f'<text x="{LEFT + 8}" y="{TOP + 14 + 14 * at}" fill="{colour}">{escape(name)}</text>')
    return "\n".join(parts)


def grid(rows):
    """The whole drawing. Each row is a list of panels' arguments."""
    width, height = WIDTH * max(map(len, rows)), HEIGHT * len(rows)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        ' font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, row in enumerate(rows):
        for j, arguments in enumerate(row):
            parts.append(f'<g transform="translate({j * WIDTH} {i * HEIGHT})">\n{panel(*arguments)}\n</g>')
    return "\n".join([*parts, "</svg>", ""])
