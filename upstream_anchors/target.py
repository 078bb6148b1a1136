r"""What may a writer point at?

| target | what it names |
|---|---|
| `vllm/v1/engine/core.py` | a file, or a folder |
| `path#EngineCore.step` | a class, function, method, attribute, constant |
| `csrc/cache_kernels.cu#reshape_and_cache_flash` | a function or class of C++ or CUDA |
| `docs/design/arch_overview.md#Entrypoints` | a section of a Markdown file, by its heading |
| `path#EngineCore.step@"fragment"` | the one line of the symbol that contains the fragment |
| `csrc/cache_kernels.cu@"fragment"` | the one line of the file that contains it |
| `env:VLLM_LOGGING_LEVEL` | the entry of an environment variable |
| `flag:--max-num-seqs` | where the command line learns of a flag |
| `log:"GPU KV cache size"` | the one logger call whose text contains this |
| `default:path#CacheConfig.block_size=16` | a default, and the claim that it has this value |
| `py:vllm.v1.engine.core.EngineCore` | a Python name, as a type annotation spells it |

None of them has a line number in it. That is the point: at the release after the pinned one, half
of the definitions have moved, and hardly a name has changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from upstream_anchors.errors import AnchorError

_NAME = r"[A-Za-z_]\w*"
_DOTTED = rf"{_NAME}(?:\.{_NAME})*"
_ENV = re.compile(rf"env:({_NAME})")
_FLAG = re.compile(r"flag:(--?[A-Za-z][\w.-]*)")
_LOG = re.compile(r'log:"(.+)"')
_PYTHON = re.compile(rf"py:({_DOTTED})")
_DEFAULT = re.compile(r"default:([^#\s]+)#([^=\s]+)=(.+)")
_FILE = re.compile(r'([^#@"\s:]+)(?:#([^@"]+?))?(?:@"(.+)")?')


@dataclass(frozen=True)
class Target:
    r"""One target, taken apart but not yet looked for.

    `text` is its canonical spelling: the key of the lock, and what the pages are matched by. The
    fields that a kind does not use are `None`.
    """

    text: str
    kind: str  # "path", "env", "flag", "log", "default" or "python"
    path: str | None = None
    symbol: str | None = None
    fragment: str | None = None
    name: str | None = None
    value: str | None = None

    @classmethod
    def parse(cls, text: str) -> Target:
        r"""Take a target apart; {py:class}`.AnchorError` when it has none of these forms.

        A target that was broken over two lines of prose is put together first, so a fragment
        matches with single spaces.
        """
        text = " ".join(text.split())
        if match := _ENV.fullmatch(text):
            return cls(text, "env", name=match[1])
        if match := _FLAG.fullmatch(text):
            return cls(text, "flag", name=match[1])
        if match := _LOG.fullmatch(text):
            return cls(text, "log", fragment=match[1])
        if match := _PYTHON.fullmatch(text):
            return cls(text, "python", name=match[1])
        if match := _DEFAULT.fullmatch(text):
            path = _checked_path(text, match[1])
            return cls(text, "default", path=path, symbol=match[2], value=match[3].strip())
        if match := _FILE.fullmatch(text):
            path = _checked_path(text, match[1])
            return cls(text, "path", path=path, symbol=match[2], fragment=match[3])
        raise AnchorError(f"{text!r} is not a target; it should look like one of: {FORMS}")


_TITLED = re.compile(r"(.+?)\s*<(.+)>", re.DOTALL)


def split_title(text: str) -> tuple[str | None, str]:
    r"""A role's text as title and target: `its name <path#Symbol>`, or a target alone.

    The first `<` opens the target, so a fragment may contain one and a title may not.
    """
    if match := _TITLED.fullmatch(text.strip()):
        return " ".join(match[1].split()), " ".join(match[2].split())
    return None, " ".join(text.split())


FORMS = (
    'path, path#Symbol, path#Symbol@"fragment", path@"fragment", env:NAME, flag:--name, '
    'log:"fragment", default:path#Class.field=value'
)


def _checked_path(text: str, path: str) -> str:
    parts = path.rstrip("/").split("/")
    if path.startswith("/") or "\\" in path or {"", ".", ".."} & set(parts):
        raise AnchorError(f"{text!r}: {path!r} is not a plain path below the root of the tree")
    return "/".join(parts)
