r"""Where does this build take its answers from: the tree, or the lock?

Decided once, when the builder starts, and said in the build's log. A tree that is there but is
not the pinned one stops the build: a page of plausible wrong lines is worse than no page.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging

from upstream_anchors.errors import TreeError
from upstream_anchors.lock import LOCK_FILE, Lock
from upstream_anchors.pin import PACKAGE_DIR, Pin
from upstream_anchors.place import Place
from upstream_anchors.resolver import Resolver
from upstream_anchors.tree import Tree, open_tree

logger = logging.getLogger(__name__)

# One source a build. The environment knows its configuration and will not know its application
# for much longer, so the configuration is the key.
_SOURCES: WeakKeyDictionary[Config, AnchorSource] = WeakKeyDictionary()


@dataclass
class AnchorSource:
    r"""The answers of this build: `resolver` with the tree, or `lock` alone."""

    pin: Pin
    lock: Lock
    resolver: Resolver | None

    @property
    def tree(self) -> Tree | None:
        r"""The tree, if this build has one."""
        return self.resolver.tree if self.resolver else None

    def resolve(self, target: str) -> Place:
        r"""The place of a target; {py:class}`.AnchorError` if it is wrong."""
        if self.resolver is None:
            return self.lock.resolve(target)
        return self.resolver.resolve(target)


def connect_source(app: Sphinx) -> None:
    r"""Add the configuration values and open the source before anything is read.

    `upstream_fingerprint` is computed, not set: it is the pin and the kind of source, and when
    it changes every page is read anew, since excerpts and links would differ.
    """
    app.add_config_value("upstream_tree", None, "", (str, type(None)))
    app.add_config_value("upstream_use_tree", True, "", (bool,))
    app.add_config_value("upstream_pin_file", str(PACKAGE_DIR / "pin.toml"), "", (str,))
    app.add_config_value("upstream_lock_file", str(LOCK_FILE), "", (str,))
    app.add_config_value("upstream_fingerprint", "", "env", (str,))
    app.connect("config-inited", _open)


def source_of(env: BuildEnvironment) -> AnchorSource:
    r"""The source that this build opened."""
    return _SOURCES[env.config]


def _open(app: Sphinx, config: Config) -> None:
    try:
        pin = Pin.load(Path(config.upstream_pin_file))
        lock = Lock.load(pin, Path(config.upstream_lock_file))
        tree = None
        if config.upstream_use_tree:
            tree = open_tree(pin, Path(config.upstream_tree) if config.upstream_tree else None)
    except TreeError as error:
        raise ExtensionError(str(error)) from error
    if tree is None:
        logger.info("[upstream] no tree of %s: links come from the lock, excerpts are links", pin)
    else:
        logger.info("[upstream] anchors are resolved in the tree of %s (%s)", pin, tree.origin)
    resolver = Resolver(tree, pin, lock) if tree else None
    _SOURCES[config] = AnchorSource(pin, lock, resolver)
    config.upstream_fingerprint = f"{pin} {pin.sdist_sha256} {'tree' if tree else 'lock'}"
