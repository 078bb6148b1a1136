r"""Notebooks: run where their dependencies changed, and nowhere else; run the same way everywhere.

The cache that comes with MyST-NB compares the cells of a notebook with those of an earlier run. It
does not see the modules that the cells import. So every notebook gets a cache of its own, in a
folder named after the digest of what {py:mod}`book.dependencies` finds; another digest, an empty
cache, a fresh run.

Kernels start in the repository's root, with our packages importable, one compute thread, a fixed
hash seed, and figures as SVG without a date, whatever the machine's own IPython says.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from myst_nb.sphinx_ext import add_global_html_resources
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from book import module_facts
from book.code_tree import CodeTree
from book.dependencies import code_cells, of_notebook

LOGGER = logging.getLogger(__name__)
KEPT = 3  # digests kept a notebook, so that going back to an earlier commit runs nothing

_KERNEL_CONFIG = """\
c = get_config()
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.print_figure_kwargs = {"bbox_inches": "tight", "metadata": {"Date": None}}
c.IPKernelApp.log_level = 40
c.HistoryManager.enabled = False
"""
_STARTUP = """\
import os as _os
_os.chdir({root!r})
del _os
"""


def state(app: Sphinx, name: str) -> Path:
    """A file or folder that one build leaves for the next, outside the pages."""
    return Path(app.srcdir) / app.config.build_state / name


def prepare_kernels(app: Sphinx, config: Config) -> None:
    """Write the kernels' profile below the build folder and point the environment at it."""
    root = Path(app.srcdir)
    profile = state(app, ".ipython") / "profile_default"
    (profile / "startup").mkdir(parents=True, exist_ok=True)
    (profile / "ipython_kernel_config.py").write_text(_KERNEL_CONFIG, encoding="utf-8")
    startup = _STARTUP.format(root=str(root))
    (profile / "startup" / "00-root.py").write_text(startup, encoding="utf-8")
    ours = [str(root), str(root / "labs")]
    inherited = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([*ours, *inherited]))
    os.environ["IPYTHONDIR"] = str(profile.parent)
    os.environ.update(
        OMP_NUM_THREADS="1",
        PYTHONHASHSEED="0",
        MPLBACKEND="module://matplotlib_inline.backend_inline",
        PYDEVD_DISABLE_FILE_VALIDATION="1",
        TOKENIZERS_PARALLELISM="false",
        HF_HUB_OFFLINE="1",
    )


def facts_store(app: Sphinx) -> Path:
    """Where what was read of each module waits for the next build."""
    return state(app, ".module-facts.json")


def recall(app: Sphinx) -> None:
    """Take over what an earlier build has read of the modules."""
    module_facts.load(facts_store(app))


def code_tree(app: Sphinx, root: Path | None = None) -> CodeTree:
    """The code as this build has found it: one tree for all that ask what depends on what."""
    if not hasattr(app, "code_trees"):
        app.code_trees = {}  # type: ignore[attr-defined]
    trees: dict[Path, CodeTree] = app.code_trees  # type: ignore[attr-defined]
    root = root or Path(app.srcdir)
    return trees.setdefault(root, CodeTree(root))


def is_notebook(path: Path) -> bool:
    """Whether a page has cells to run."""
    return path.suffix == ".md" and bool(code_cells(path.read_text(encoding="utf-8")))


def outdated(app: Sphinx, env: BuildEnvironment, *_: object) -> list[str]:
    """Notebooks whose dependencies changed since they were read."""
    root = Path(app.srcdir)
    known: dict[str, dict[str, str]] = getattr(env, "notebook_digests", {})
    env.notebook_caches = {}  # type: ignore[attr-defined]
    digests: dict[str, dict[str, str]] = {}
    stale: list[str] = []
    for docname in sorted(env.found_docs):
        path = Path(str(env.doc2path(docname)))
        if not is_notebook(path):
            continue
        dependencies = of_notebook(path, root, code_tree(app))
        for pattern in dependencies.missing:
            LOGGER.warning("depends: %s matches no file", pattern, location=docname)
        digests[docname] = dependencies.digests
        env.notebook_caches[docname] = dependencies.digest()  # type: ignore[attr-defined]
        if docname in known and (changed := dependencies.changed(known[docname])):
            LOGGER.info("%s runs again, because of %s", docname, ", ".join(changed[:6]))
            stale.append(docname)
    env.notebook_digests = digests  # type: ignore[attr-defined]
    module_facts.save(facts_store(app))
    return stale


def choose_cache(app: Sphinx, docname: str, source: list[str]) -> None:
    """Before a page is parsed: the cache folder that belongs to its dependencies."""
    digest = getattr(app.env, "notebook_caches", {}).get(docname)
    if digest is None:
        return
    own = state(app, ".notebooks") / docname.replace("/", "__")
    folder = own / digest
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    kept = sorted(own.iterdir(), key=lambda p: p.stat().st_mtime, reverse=True)
    for old in kept[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    app.env.mystnb_config = app.env.mystnb_config.copy(  # type: ignore[attr-defined]
        execution_cache_path=str(folder)
    )


def style_before_pages(app: Sphinx, *_: object) -> None:
    """Put MyST-NB's style where it belongs before pages refer to it by its checksum.

    By itself it comes after the last page, and the first build's pages would lack the checksum.
    """
    if app.builder.format == "html":
        (Path(app.outdir) / "_static").mkdir(parents=True, exist_ok=True)
        add_global_html_resources(app, None)


def setup(app: Sphinx) -> dict[str, object]:
    """Connect; `myst_nb` must be loaded before."""
    app.setup_extension("myst_nb")
    app.add_config_value("build_state", "_build", "", types=frozenset({str}))
    app.connect("config-inited", prepare_kernels)
    app.connect("builder-inited", recall, priority=50)
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", choose_cache)
    app.connect("env-updated", style_before_pages)
    return {"version": "1", "env_version": 1, "parallel_read_safe": False}
