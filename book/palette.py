r"""The colours of the book's figures, by name, as drawn and as CSS variables."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields


@dataclass(frozen=True)
class Palette:
    """The colours of the book, as drawn; `css` gives the variable that replaces each on a page."""

    ink: str = "#23272f"
    muted: str = "#6b7280"
    faint: str = "#c9ced6"
    paper: str = "#fefdfb"
    blue: str = "#2563b0"
    orange: str = "#c8611a"
    green: str = "#2f8f5b"
    red: str = "#c0364c"
    purple: str = "#7a4fb5"
    teal: str = "#1b8a94"
    gold: str = "#a97c0c"
    blue_soft: str = "#cfdff2"
    orange_soft: str = "#f6dac4"
    green_soft: str = "#cde8d8"
    red_soft: str = "#f3cfd6"
    purple_soft: str = "#e0d5f0"

    def css(self) -> dict[str, str]:
        """Drawn colour to CSS variable."""
        return {
            value: f"var(--fig-{f.name.replace('_', '-')}, {value})"
            for f, value in zip(fields(self), astuple(self), strict=True)
        }

    @property
    def cycle(self) -> list[str]:
        """Colours for series, in order of use; neighbours differ in lightness too."""
        return [self.blue, self.orange, self.green, self.purple, self.red, self.teal, self.gold]


palette = Palette()
