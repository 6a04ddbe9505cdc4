# SPDX-License-Identifier: BSD-3-Clause
"""Plots as SVG, without any library: lines over a logarithmic or plain axis, and stacked bars."""
import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 62, 150, 40, 52
COLOURS = ("#1f6fb4", "#d95f02", "#2a9d56", "#8e44ad", "#c2185b", "#7f8c2d", "#00838f", "#a65628", "#666666")


def short(n):
    if n == 0:
        return "0"
    for unit, name in ((10**6, "M"), (1000, "k")):
        if n >= unit:
            return f"{n / unit:g}{name}"
    return f"{n:g}"


class Canvas:
    def __init__(self, title, x_label, y_label, y_max):
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
                      f'font-size="12"><rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>']
        self.right, self.bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        step = 10 ** math.floor(math.log10(max(y_max, 1e-9)))
        step = next(step * f for f in (0.2, 0.5, 1, 2) if y_max / (step * f) <= 6)
        self.y_max = math.ceil(y_max * 1.02 / step) * step
        self.text(LEFT, 22, title, size=14, weight="bold")
        for i in range(round(self.y_max / step) + 1):
            y = self.y(i * step)
            self.line(LEFT, y, self.right, y, "#dddddd")
            self.text(LEFT - 6, y + 4, f"{i * step:g}", anchor="end")
        self.line(LEFT, self.bottom, self.right, self.bottom, "#333333")
        self.text((LEFT + self.right) / 2, HEIGHT - 12, x_label, anchor="middle")
        self.parts.append(f'<text x="16" y="{(TOP + self.bottom) / 2:.0f}" text-anchor="middle" '
                          f'transform="rotate(-90 16 {(TOP + self.bottom) / 2:.0f})">{escape(y_label)}</text>')

    def y(self, value):
        return self.bottom - (self.bottom - TOP) * value / self.y_max

    def line(self, x1, y1, x2, y2, colour):
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>')

    def text(self, x, y, words, anchor="start", size=12, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" '
                          f'font-weight="{weight}">{escape(words)}</text>')

    def legend(self, row, colour, words):
        y = TOP + 8 + 20 * row
        self.parts.append(f'<rect x="{self.right + 14}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        self.text(self.right + 32, y + 1, words)

    def done(self):
        return "\n".join(self.parts + ["</svg>"]) + "\n"


def lines(title, x_label, y_label, series, equal_steps=True):
    """`series`: {name: [(x, y)]}. equal_steps: every x that occurs has the same distance from the next."""
    series = {name: [(x, y) for x, y in dots if y is not None] for name, dots in series.items()}
    series = {name: dots for name, dots in series.items() if dots}
    if not series:
        return None
    every = sorted({x for dots in series.values() for x, _ in dots})
    c = Canvas(title, x_label, y_label, max(y for dots in series.values() for _, y in dots))

    def at(x):
        share = every.index(x) / max(1, len(every) - 1) if equal_steps else x / every[-1]
        return LEFT + 20 + (c.right - LEFT - 40) * share

    for x in every:
        c.text(at(x), c.bottom + 18, short(x), anchor="middle")
    for i, (name, dots) in enumerate(series.items()):
        colour = COLOURS[i % len(COLOURS)]
        path = " ".join(f"{at(x):.1f},{c.y(y):.1f}" for x, y in dots)
        c.parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in dots:
            c.parts.append(f'<circle cx="{at(x):.1f}" cy="{c.y(y):.1f}" r="3.5" fill="{colour}"/>')
        c.legend(i, colour, name)
    return c.done()


def stacked(title, x_label, y_label, bars):
    """`bars`: [(name, {part: height})]."""
    bars = [(name, {part: h for part, h in parts.items() if h}) for name, parts in bars if parts]
    if not bars:
        return None
    kinds = list(dict.fromkeys(part for _, parts in bars for part in parts))
    kinds = [k for k in kinds if max(parts.get(k, 0) for _, parts in bars) >= 0.4]
    c = Canvas(title, x_label, y_label, max(sum(parts.get(k, 0) for k in kinds) for _, parts in bars))
    room = (c.right - LEFT) / len(bars)
    for i, (name, parts) in enumerate(bars):
        x, top = LEFT + room * (i + 0.2), 0.0
        for k, kind in enumerate(kinds):
            h = parts.get(kind, 0)
            y = c.y(top + h)
            c.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{room * 0.6:.1f}" height="{c.y(top) - y:.1f}" '
                           f'fill="{COLOURS[k % len(COLOURS)]}"/>')
            top += h
        c.text(x + room * 0.3, c.y(top) - 5, f"{top:.0f}", anchor="middle")
        c.text(x + room * 0.3, c.bottom + 18, name, anchor="middle")
    for row, kind in enumerate(reversed(kinds)):
        c.legend(row, COLOURS[kinds.index(kind) % len(COLOURS)], kind)
    return c.done()
