r"""How a figure of this book looks, in the light and in the dark.

```python
from book.figures import palette, plt

fig, ax = plt.subplots(figsize=(7, 3))
ax.step(steps, computed, color=palette.blue, label="A")
```

A figure is drawn once. On the page its SVG is part of the document: the colours of the palette
become CSS variables, so the figure follows the reader's theme, and its text is text, in the page's
own typeface. A colour from elsewhere stays as it is in both themes; take it from here.

The cell must say in words what the figure shows (`mystnb: image: alt:`), else the build fails.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib import font_manager

from book.palette import Palette, palette
from upstream_anchors.whole_files import write_whole

__all__ = ["Palette", "palette", "plt", "use_book_style"]

FONT = "IBM Plex Sans"
_FONT_FILES = Path(__file__).parent / "_static" / "fonts"
_FONT_CACHE = Path(__file__).resolve().parents[1] / "_build" / ".fonts"


def _register_font() -> str:
    """Make the page's typeface known to matplotlib; it reads no WOFF, so unpack one once."""
    from fontTools.ttLib import TTFont

    for source in sorted(_FONT_FILES.glob("IBMPlexSans-*.woff")):
        target = _FONT_CACHE / f"{source.stem}.ttf"
        if not target.exists():
            font = TTFont(source)
            font.flavor = None
            buffer = io.BytesIO()
            font.save(buffer)
            write_whole(target, buffer.getvalue())
        font_manager.fontManager.addfont(str(target))
    return FONT


def use_book_style() -> None:
    """Set matplotlib's defaults: quiet axes, the book's colours, reproducible SVG."""
    p = palette
    mpl.rcParams.update(
        {
            "font.family": [_register_font()],
            "font.size": 10.5,
            "axes.titlesize": 11.5,
            "axes.titleweight": "semibold",
            "axes.titlelocation": "left",
            "axes.titlepad": 10,
            "axes.labelsize": 10.5,
            "axes.labelcolor": p.ink,
            "axes.titlecolor": p.ink,
            "text.color": p.ink,
            "axes.edgecolor": p.muted,
            "axes.linewidth": 0.8,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": cycler(color=p.cycle),
            "grid.color": p.faint,
            "grid.linewidth": 0.6,
            "xtick.color": p.muted,
            "ytick.color": p.muted,
            "xtick.labelcolor": p.ink,
            "ytick.labelcolor": p.ink,
            "xtick.labelsize": 9.5,
            "ytick.labelsize": 9.5,
            "lines.linewidth": 2.0,
            "lines.solid_capstyle": "round",
            "patch.linewidth": 0.8,
            "patch.edgecolor": p.paper,
            "legend.frameon": False,
            "legend.fontsize": 10,
            "figure.figsize": (7.2, 3.4),
            "figure.facecolor": "none",
            "figure.constrained_layout.use": True,
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "savefig.transparent": True,
            "svg.fonttype": "none",
            "svg.hashsalt": "inside-the-engine",
        }
    )


use_book_style()
