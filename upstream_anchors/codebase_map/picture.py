r"""The map as a drawing: boxes for files, lines for imports, importers above what they import.

An SVG made of text and lines alone. Its colours are the book's CSS variables, with the book's
light colours where no page sets them, so that it follows the theme of a page it is put into; a file
of its own carries the dark set as well and follows the reader's system.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from upstream_anchors.codebase_map.layers import Layers, arrange
from upstream_anchors.codebase_map.part import FileEntry, Part

#: The colours used, by the names that `book/palette.py` and the style sheets have for them.
COLOURS = {
    "ink": "#23272f",
    "muted": "#6b7280",
    "faint": "#c9ced6",
    "paper": "#fefdfb",
    "blue": "#2563b0",
    "blue-soft": "#cfdff2",
    "orange": "#c8611a",
    "green-soft": "#cde8d8",
    "purple-soft": "#e0d5f0",
    "orange-soft": "#f6dac4",
}
_DARK = {
    "ink": "#e6e3dc",
    "muted": "#a3a8b3",
    "faint": "#4a505c",
    "paper": "#1c1f24",
    "blue": "#7fb0ee",
    "blue-soft": "#24405f",
    "orange": "#f0a068",
    "green-soft": "#25493a",
    "purple-soft": "#41345a",
    "orange-soft": "#5a3a24",
}
_SHADES = ("blue-soft", "green-soft", "purple-soft", "orange-soft")

_BOX, _ROW, _GAP, _LANE = 40, 92, 16, 14
_BOLD, _LIGHT = 7.9, 6.2  # the widest a letter gets, on average, in the two lines of a box
_MARGIN = 12
_ARC = 30  # what a line between two boxes of the last row needs below them


def draw(part: Part) -> str:
    r"""The drawing as an `svg` element for a page that has the book's colours."""
    return _Drawing(part).svg("")


def standalone(part: Part) -> str:
    r"""The drawing as a file of its own, light or dark as the reader's system is."""
    light = "".join(f"--fig-{name}:{value};" for name, value in COLOURS.items())
    dark = "".join(f"--fig-{name}:{value};" for name, value in _DARK.items())
    style = (
        f"<style>svg{{{light}background:var(--fig-paper)}}"
        f"@media(prefers-color-scheme:dark){{svg{{{dark}}}}}</style>"
    )
    return _Drawing(part).svg(style) + "\n"


def describe(part: Part) -> str:
    r"""What the drawing shows, in words, for who cannot see it."""
    layers = _layers(part)
    height = layers.height
    rows: dict[int, list[str]] = {}
    for entry in part.entries:
        rows.setdefault(height[entry.path], []).append(entry.path.rpartition("/")[2])
    spoken = "; ".join(", ".join(rows[row]) for row in sorted(rows))
    return f"Imports among {len(part.entries)} files. Rows from importer to imported: {spoken}."


def implied_imports(part: Part) -> int:
    r"""How many imports the drawing leaves out because a longer chain implies them."""
    return _layers(part).implied


def _layers(part: Part) -> Layers:
    edges = {(entry.path, one.path): one.when for entry in part.entries for one in entry.imports}
    return arrange([entry.path for entry in part.entries], edges)


class _Drawing:
    def __init__(self, part: Part) -> None:
        self.part = part
        self.layers = _layers(part)
        self.entry = {entry.path: entry for entry in part.entries}
        self.names = _short_names(part)
        self.place: dict[str, tuple[float, float]] = {}
        self.width = max((self._row_width(row) for row in self.layers.rows), default=200)
        self.width += 2 * _MARGIN
        self.signs = self._signs()
        self.width = max(self.width, 2 * _MARGIN + max(x + w for x, _, w, _, _ in self.signs))
        self.top = _ROW * len(self.layers.rows) - (_ROW - _BOX) + _MARGIN + _ARC
        self.height = self.top + max(y for _, y, _, _, _ in self.signs) + 18 + _MARGIN
        for number, row in enumerate(self.layers.rows):
            self._set_row(number, row)

    def _size(self, name: str) -> float:
        if name not in self.entry:
            return _LANE
        under = self._under(self.entry[name])
        return max(len(self.names[name]) * _BOLD, len(under) * _LIGHT) + 20

    def _row_width(self, row: list[str]) -> float:
        return sum(map(self._size, row)) + _GAP * max(len(row) - 1, 0)

    def _set_row(self, number: int, row: list[str]) -> None:
        spare = self.width - 2 * _MARGIN - self._row_width(row)
        gap = _GAP + (spare / (len(row) + 1) if len(row) > 1 else 0)
        x = _MARGIN + (spare - (gap - _GAP) * max(len(row) - 1, 0)) / 2
        y = _MARGIN + number * _ROW
        for name in row:
            self.place[name] = (x + self._size(name) / 2, y)
            x += self._size(name) + gap

    def svg(self, style: str) -> str:
        width, height = round(self.width), round(self.height)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" class="figure-svg" role="img" '
            f'aria-label="{escape(describe(self.part))}" '
            f'font-family="IBM Plex Sans, system-ui, sans-serif" font-size="12.5" '
            f'style="max-width:{width}px;min-width:{min(width, 540)}px">',
            style,
            *self._lines(),
            *self._boxes(),
            *self._legend(),
            "</svg>",
        ]
        return "".join(parts)

    def _lines(self) -> Iterable[str]:
        for route in self.layers.routes:
            down = self.place[route.importer][1] < self.place[route.imported][1]
            level = self.place[route.importer][1] == self.place[route.imported][1]
            points = [self.place[name] for name in (route.importer, *route.via, route.imported)]
            path = self._arc(points) if level else self._curve(points, down)
            late = route.when != "load"
            colour = "orange" if late or not down else "muted"
            dash = ' stroke-dasharray="4 3"' if late else ""
            look = f'stroke="{_colour(colour)}" stroke-width="1.3"{dash}'
            yield f'<path d="{path}" fill="none" {look}/>'
            yield self._head(points[-1], down, level, colour)

    def _curve(self, points: list[tuple[float, float]], down: bool) -> str:
        leave, enter = (_BOX, -6.0) if down else (0, _BOX + 6.0)
        x, y = points[0]
        y += leave
        text = f"M{x:.1f} {y:.1f}"
        for number, (to_x, to_y) in enumerate(points[1:], start=1):
            last = number == len(points) - 1
            # Past a row between: straight through the height of its boxes.
            goal = to_y + enter if last else to_y + (0 if down else _BOX)
            half = (goal - y) / 2
            text += f"C{x:.1f} {y + half:.1f} {to_x:.1f} {goal - half:.1f} {to_x:.1f} {goal:.1f}"
            x, y = to_x, goal
            if not last:
                y = to_y + (_BOX if down else 0)
                text += f"L{x:.1f} {y:.1f}"
        return text

    def _arc(self, points: list[tuple[float, float]]) -> str:
        (x, y), (to_x, _) = points[0], points[-1]
        low = y + _BOX
        return f"M{x:.1f} {low}C{x:.1f} {low + 34} {to_x:.1f} {low + 34} {to_x:.1f} {low + 6}"

    def _head(self, at: tuple[float, float], down: bool, level: bool, colour: str) -> str:
        x, y = at
        if down and not level:
            points = f"{x:.1f},{y} {x - 3.5:.1f},{y - 7} {x + 3.5:.1f},{y - 7}"
        else:
            low = y + _BOX
            points = f"{x:.1f},{low} {x - 3.5:.1f},{low + 7} {x + 3.5:.1f},{low + 7}"
        return f'<polygon points="{points}" fill="{_colour(colour)}"/>'

    def _boxes(self) -> Iterable[str]:
        shades = {folder: _shade(i) for i, folder in enumerate(self.part.folders)}
        for path, entry in self.entry.items():
            x, y = self.place[path]
            size = self._size(path)
            yield (
                f"<g><title>{escape(path)}</title>"
                f'<rect x="{x - size / 2:.1f}" y="{y}" width="{size:.1f}" height="{_BOX}" rx="6" '
                f'fill="{_colour(shades[entry.folder])}" stroke="{_colour("muted")}"/>'
                f'<text x="{x:.1f}" y="{y + 17}" text-anchor="middle" font-weight="600" '
                f'fill="{_colour("ink")}">{escape(self.names[path])}</text>'
                f'<text x="{x:.1f}" y="{y + 32}" text-anchor="middle" font-size="11" '
                f'fill="{_colour("ink")}">{self._under(entry)}</text></g>'
            )

    def _signs(self) -> list[tuple[float, float, float, str, str]]:
        # The legend: (x, y, width, what, text), in rows as wide as the drawing.
        items = [(_shade(i), f"{folder}/") for i, folder in enumerate(self.part.folders)]
        items += [("load", "imported at load"), ("late", "typing only, or lazily")]
        placed: list[tuple[float, float, float, str, str]] = []
        x, y, room = 0.0, 0.0, max(self.width - 2 * _MARGIN, 520)
        for what, text in items:
            width = len(text) * _LIGHT + 44
            if x and x + width > room:
                x, y = 0.0, y + 22
            placed.append((x, y, width, what, text))
            x += width
        return placed

    def _legend(self) -> Iterable[str]:
        for x, y, _, what, text in self.signs:
            left, middle = _MARGIN + x, self.top + y + 8
            if what in {"load", "late"}:
                colour = _colour("muted" if what == "load" else "orange")
                dash = "" if what == "load" else ' stroke-dasharray="4 3"'
                yield (
                    f'<path d="M{left} {middle}h20" stroke="{colour}" stroke-width="1.3"{dash}/>'
                )
            else:
                yield (
                    f'<rect x="{left}" y="{middle - 7}" width="20" height="14" rx="3" '
                    f'fill="{_colour(what)}" stroke="{_colour("muted")}"/>'
                )
            yield (
                f'<text x="{left + 27}" y="{middle + 4}" font-size="11" '
                f'fill="{_colour("ink")}">{escape(text)}</text>'
            )

    def _under(self, entry: FileEntry) -> str:
        beyond = self.part.outside_importers(entry)
        return f"{entry.file.lines:,} lines · {beyond} from outside"


def _short_names(part: Part) -> dict[str, str]:
    # The file's name; with its folder where two files share one.
    names = [entry.path.rpartition("/")[2] for entry in part.entries]
    short = {}
    for entry, name in zip(part.entries, names, strict=True):
        twice = names.count(name) > 1
        short[entry.path] = "/".join(entry.path.split("/")[-2:]) if twice else name
    return short


def _shade(number: int) -> str:
    return _SHADES[number % len(_SHADES)]


def _colour(name: str) -> str:
    return f"var(--fig-{name}, {COLOURS[name]})"
