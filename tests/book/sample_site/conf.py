"""A small site that uses the book's extensions on a small package."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, os.environ["BOOK_ROOT"])

project = "sample"
extensions = [
    "myst_nb",
    "autodoc2",
    "book._ext.boxes",
    "book._ext.weave",
    "book._ext.quantities",
    "book._ext.questions",
    "book._ext.invariants",
    "book._ext.notebooks",
    "book._ext.streams",
    "book._ext.inline_figures",
    "book._ext.svg_math",
    "book._ext.numbering",
    "book._ext.navigation",
]
exclude_patterns = ["_build", "sample"]
source_suffix = {".md": "myst-nb"}
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_ref_domains = ["std", "py"]
myst_update_mathjax = False
html_math_renderer = "svg"
autodoc2_packages = [{"path": "sample", "auto_mode": False}]
autodoc2_render_plugin = "myst"
autodoc2_docstrings = "direct"
autodoc2_index_template = None
add_module_names = False
weave_roots = [str(HERE)]
invariants_package = str(HERE / "sample")
nb_execution_mode = "cache"
nb_execution_timeout = 60
nb_execution_show_tb = True
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(collections|typing|enum|builtins)\..*|int|str|list|bool|None|object|tuple")
]
numfig = True
math_numfig = False
html_theme = "basic"
html_static_path = []
