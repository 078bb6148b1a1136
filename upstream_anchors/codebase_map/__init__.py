r"""What is in this folder, who uses it, and what is each file for?

The first two questions have answers that a machine can find; the third is the reader's to answer,
in one sentence a file. A map puts them side by side: `python -m upstream_anchors map vllm/v1/core
--out MAP.md` makes a page that is half filled in, and `map check MAP.md` says what is missing.

Nothing is imported and nothing is run. From the bottom up: `modules` and `imports` read who
imports whom; `definitions` keeps what each file defines; `kinds`, `scopes`, `annotations`,
`expressions` and `lookup` find out what an expression stands for; `call_graph` asks that of every
call; `graph` is the record of it all, cached. `part` chooses files, `document` keeps the reader's
words, `page` and `picture` draw, `checking` complains.

For a tool that builds on it:

```python
graph = CodeGraph.cached(tree, pin)
part = choose_part(graph, ["vllm/v1/core", "vllm/v1/worker"])
text = write_map(part, str(pin), old=MapDocument.parse(old_text))
complaints = check_map(MapDocument.parse(text), part, str(pin), tree.files)
```
"""

from upstream_anchors.codebase_map.checking import Complaint, check_map
from upstream_anchors.codebase_map.document import PLACEHOLDER, MapDocument, Section
from upstream_anchors.codebase_map.graph import Call, CodeGraph, File, Import
from upstream_anchors.codebase_map.page import write_map
from upstream_anchors.codebase_map.part import Caller, FileEntry, Neighbour, Part, choose_part
from upstream_anchors.codebase_map.picture import draw, standalone

__all__ = [
    "PLACEHOLDER",
    "Call",
    "Caller",
    "CodeGraph",
    "Complaint",
    "File",
    "FileEntry",
    "Import",
    "MapDocument",
    "Neighbour",
    "Part",
    "Section",
    "check_map",
    "choose_part",
    "draw",
    "standalone",
    "write_map",
]
