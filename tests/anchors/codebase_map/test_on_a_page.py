"""The directives: from the tree when it is there, a notice when it is not."""

from __future__ import annotations

import pytest

PAGE = """\
# Map

```{map-picture} vllm/engine
```

```{map-table} vllm/engine
```

```{most-imported} 2
```

```{map-tally}
```
"""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake tree's graph is not kept beside the pinned one's."""
    from upstream_anchors.codebase_map.graph import CodeGraph

    cached = CodeGraph.cached.__func__
    own = classmethod(lambda cls, tree, pin: cached(cls, tree, pin, cache_dir=tmp_path / "cache"))
    monkeypatch.setattr(CodeGraph, "cached", own)


def test_a_part_is_drawn_and_listed(build) -> None:
    app = build({"map": PAGE})
    html = (app.outdir / "map.html").read_text()
    assert app.warning.getvalue() == ""
    assert 'role="img"' in html
    assert "core.py</text>" in html
    assert "Importers" in html
    assert "lead to a definition of the tree" in html


def test_without_the_tree_a_notice_stands_there(build) -> None:
    app = build({"map": PAGE}, with_tree=False)
    html = (app.outdir / "map.html").read_text()
    assert app.warning.getvalue() == ""
    assert html.count("built without it") == 4
    assert "<svg" not in html


def test_a_part_that_is_not_there_fails_the_build(build) -> None:
    app = build({"map": "# Map\n\n```{map-table} vllm/engin\n```\n"})
    assert "vllm/engin is no folder" in app.warning.getvalue()
    assert "nearest: vllm/engine" in app.warning.getvalue()
