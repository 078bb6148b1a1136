"""Sphinx configuration of the book; the source directory is the repository's root.

Only what this book needs is set. Versions that work together, and why they are pinned, stand in
`constraints/`. The extensions of `book/_ext/` say in their own words what they do.
"""

import builtins
import hashlib
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
for folder in (ROOT, ROOT / "labs"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

project = "Inside the Engine"
author = "The authors of Inside the Engine"
project_copyright = "the authors of Inside the Engine, Apache-2.0"
version = release = "0.1"
language = "en"

extensions = [
    "myst_nb",  # brings myst_parser
    "autodoc2",  # only its database; the pages place the docstrings
    "sphinx_design",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
    "upstream_anchors.sphinx_domain",
    "book._ext.boxes",
    "book._ext.weave",
    "book._ext.beside",
    "book._ext.quantities",
    "book._ext.questions",
    "book._ext.invariants",
    "book._ext.cards",
    "book._ext.progress",
    "book._ext.budgets",
    "book._ext.recall",
    "book._ext.measurements",
    "book._ext.ptx",
    "book._ext.notebooks",
    "book._ext.streams",
    "book._ext.inline_figures",
    "book._ext.svg_math",
    "book._ext.numbering",
    "book._ext.navigation",
    "book._ext.sidebar",
    "book._ext.accessible",
    "book._ext.break_names",
    "book._ext.used_styles",
    "book._ext.contents",
    "book._ext.epub_edition",
    "book._ext.downloads",
    "book._ext.trace_player",
    "book._ext.home",
    "book._ext.beliefs",
    "book._ext.correspondence",
    "book._ext.career",
    "book._ext.lessons",
    "book._ext.search",
]

# ---- sources ----------------------------------------------------------------------------------
include_patterns = ["index.md", "UPSTREAM_PIN.md", "book/**", "labs/**"]
exclude_patterns = [
    "**/_*",
    "**/.*",
    "**/node_modules",
    "book/model/*/**",
    "book/measurements/**",
    "labs/**/mutants/**",
    "labs/AGENTS.md",
    "labs/labkit/**",
    "labs/capstone/**",
]
source_suffix = {".md": "myst-nb"}
nitpicky = True
# Names that annotations mention and that have no page of ours: the standard library and torch.
nitpick_ignore_regex = [
    ("py:.*", r"(torch|np|numpy|nn|transformers|tokenizers|safetensors|numba|tqdm|pytest)(\..*)?"),
    (
        "py:.*",
        r"(fastapi|starlette|pydantic|msgspec|zmq|prometheus_client|httpx|jinja2|triton)(\..*)?",
    ),
    ("py:.*", rf"({'|'.join(sorted(sys.stdlib_module_names))})(\..*)?"),
    ("py:.*", rf"({'|'.join(n for n in dir(builtins) if n.isidentifier())})"),
]

# ---- Markdown ---------------------------------------------------------------------------------
myst_enable_extensions = [
    "amsmath",
    "attrs_block",
    "attrs_inline",
    "colon_fence",
    "deflist",
    "dollarmath",
    "fieldlist",
    "tasklist",
]
myst_heading_anchors = 3
myst_update_mathjax = False
myst_ref_domains = ["std", "py"]
myst_links_external_new_tab = False
bibtex_bibfiles = ["book/references.bib"]
bibtex_default_style = "plain"

# ---- our code on the pages --------------------------------------------------------------------
autodoc2_packages = [
    {"path": "mini_vllm", "auto_mode": False},
    {"path": "labs/labkit", "module": "labkit", "auto_mode": False},
    {"path": "book/model", "module": "book.model", "auto_mode": False},
    {"path": "book/reading_time.py", "module": "book.reading_time", "auto_mode": False},
]
autodoc2_render_plugin = "myst"
autodoc2_docstrings = "direct"
autodoc2_hidden_objects = ["dunder", "inherited", "private"]
autodoc2_index_template = None
weave_roots = [str(ROOT), str(ROOT / "labs")]
invariants_package = str(ROOT / "mini_vllm")
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 76
toc_object_entries = False

# ---- notebooks --------------------------------------------------------------------------------
nb_execution_mode = "cache"
nb_execution_timeout = 180
# A failing cell is a warning: fatal under -W, and only after all were tried.
nb_execution_raise_on_error = False
nb_execution_show_tb = True
nb_merge_streams = True
nb_number_source_lines = False

# ---- HTML -------------------------------------------------------------------------------------
html_theme = "sphinx_book_theme"
html_title = "Inside the Engine"
html_static_path = ["book/_static"]
html_favicon = "book/_static/favicon.svg"
html_css_files = [
    f"css/{name}.css"
    for name in (
        "fonts",
        "theme",
        "text",
        "code",
        "cards",
        "evidence",
        "site",
        "home",
        "search",
    )
]
html_js_files = [
    (f"js/{name}.js", {"defer": "defer"})
    for name in ("keys", "progress", "print", "home", "search")
]
templates_path = ["book/_templates"]
html_additional_pages = {"search": "search.html"}  # ours: book/_ext/search says why
html_context = {"default_mode": "auto"}
html_permalinks_icon = "#"
html_math_renderer = "svg"
html_copy_source = False
html_show_sphinx = False
html_last_updated_fmt = None
html_theme_options = {
    "article_header_start": ["toggle-primary-sidebar.html", "header-mark.html"],
    "article_header_end": ["keys-hint.html", "article-header-buttons.html"],
    "article_footer_items": ["page-read.html", "page-ways.html"],
    "enable_search_shortcuts": False,  # keys.js has them, and knows when to keep still
    "footer_content_items": ["copyright.html"],
    "home_page_in_toc": True,
    "primary_sidebar_end": [],
    "show_prev_next": False,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "use_source_button": False,
    "show_toc_level": 2,
    "toc_title": "Contents",
    "navbar_start": [],
    "navbar_end": [],
    "navbar_persistent": [],
}

# ---- ePub -------------------------------------------------------------------------------------
epub_description = "LLM inference, executed: a book, an engine of its own, and labs that grade"
epub_publisher = author
epub_contributor = "The contributors of vLLM (excerpts, Apache-2.0)"
epub_identifier = epub_uid = "inside-the-engine"
epub_cover = ("_static/cover.png", "epub-cover.html")
epub_show_urls = "no"
epub_tocdepth = 4
epub_tocdup = False
epub_tocscope = "includehidden"  # all our tables of contents are hidden
epub_use_index = False

copybutton_exclude = ".linenos, .gp, .go"
numfig = True
math_numfig = False
pygments_style = "default"
suppress_warnings = ["config.cache"]

os.environ.setdefault("OMP_NUM_THREADS", "1")

# What was read by older extensions is read again, so that a pull needs no clean build.
_code = [*ROOT.glob("book/_ext/**/*.py"), *ROOT.glob("upstream_anchors/sphinx_domain/*.py")]
extension_code = hashlib.sha256(b"".join(p.read_bytes() for p in sorted(_code))).hexdigest()[:16]


def setup(app):
    """Make a change of the extensions a change of the configuration."""
    app.add_config_value("extension_code", "", "env", types=frozenset({str}))
