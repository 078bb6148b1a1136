"""Every kind of target finds its lines in a tree whose lines are counted by hand here."""

from __future__ import annotations

import pytest

from upstream_anchors.errors import AnchorError
from upstream_anchors.resolver import Resolver

CORE = "vllm/engine/core.py"


def first_and_last(resolver: Resolver, target: str) -> tuple[str, str]:
    """The text of the first and the last line that a target leads to."""
    lines = resolver.resolve(target).slice(resolver.tree)
    return lines[0].strip(), lines[-1].strip()


@pytest.mark.parametrize(
    ("target", "first", "last"),
    [
        (f"{CORE}#Core.step", "@staticmethod", "return value"),
        (f"{CORE}#Core.get", "def get(self, key):", "return key"),
        (f"{CORE}#Core.busy", "@property", "return bool(self.queue)"),
        (f"{CORE}#helper", "def helper():", "return fast.run()"),
        (f"{CORE}#LIMIT", "LIMIT = 7", "LIMIT = 7"),
        (f"{CORE}#SECOND", "FIRST, SECOND = 1, 2", "FIRST, SECOND = 1, 2"),
        (f"{CORE}#Core.size", "size: int = 3", "size: int = 3"),
        (f"{CORE}#Core.queue", "self.queue: list[int] = []", "self.queue: list[int] = []"),
        (f"{CORE}#Core.run.inner", "def inner():", "return 1"),
        (f'{CORE}#Core.step@"prepare()"', "value = prepare()", "value = prepare()"),
        (f'{CORE}@"no fast"', 'raise RuntimeError("no fast")', 'raise RuntimeError("no fast")'),
        ("env:VLLM_LONG", '"VLLM_LONG": lambda: (', "),"),
        ("flag:--enable-caching", "group.add_argument(", ")"),
        ("flag:--no-enable-caching", "group.add_argument(", ")"),
        ("flag:-mns", *['group.add_argument("--max-num-seqs", "-mns", **kwargs)'] * 2),
        ("flag:--port", "port: int = 8000", "port: int = 8000"),
        ("flag:--log-stats", "log_stats: bool = False", "log_stats: bool = False"),
        ("flag:--rate", *['parser.add_argument("--rate", type=float)'] * 2),
        ('log:"blocks left"', *['logger.info("Cache has %d blocks" " left", n)'] * 2),
        ('log:"Twice is %s"', "self.logger.warning_once(", ")"),
        ('log:"took {seconds} s"', *['log.debug(f"Step took {seconds} s")'] * 2),
        ("csrc/kernel.cu#copy", "template <typename T>", "}"),
        ("csrc/kernel.cu#Block", "struct Block final : Base {", "};"),
        ('csrc/kernel.cu@"int id"', "int id;", "int id;"),
        ("docs/guide.md#The step call", "## The `step` call", ""),
        ("py:vllm.engine.core.Core", "class Core:", "return inner()"),
        ("py:vllm.Core", "class Core:", "return inner()"),
        ("py:vllm.SamplingParams.n", "n: int = 1", "n: int = 1"),
        ("py:vllm.engine.help", "def helper():", "return fast.run()"),
    ],
)
def test_a_target_leads_to_its_lines(
    resolver: Resolver, target: str, first: str, last: str
) -> None:
    assert first_and_last(resolver, target) == (first, last)


def test_the_cuda_definition_is_taken_not_the_declaration(resolver: Resolver) -> None:
    place = resolver.resolve("csrc/kernel.cu#copy")
    assert place.end is not None
    assert place.start is not None
    assert place.end - place.start == 6


def test_a_heading_owns_its_section_with_the_deeper_ones(resolver: Resolver) -> None:
    lines = resolver.resolve("docs/guide.md#The step call").slice(resolver.tree)
    assert "### Deeper" in lines
    assert "## Twice" not in lines


def test_files_and_folders_have_no_lines(resolver: Resolver) -> None:
    assert resolver.resolve(CORE).start is None
    assert resolver.resolve("vllm/engine").kind == "folder"
    assert (
        resolver.resolve("vllm/engine/")
        .permalink(resolver.pin)
        .endswith("/tree/v9.9.9/vllm/engine")
    )


def test_permalinks_are_ranges_and_markdown_is_asked_for_plain(resolver: Resolver) -> None:
    link = resolver.resolve(f"{CORE}#Core.get").permalink(resolver.pin)
    start = resolver.tree.lines(CORE).index("    def get(self, key):") + 1
    assert link == f"https://example.org/blob/v9.9.9/{CORE}#L{start}-L{start + 1}"
    assert "?plain=1#L" in resolver.resolve("docs/guide.md#Deeper").permalink(resolver.pin)


@pytest.mark.parametrize(
    ("target", "reason", "nearest"),
    [
        (f"{CORE}#Core.stepp", "defines no Core.stepp", f"{CORE}#Core.step"),
        (f"{CORE}#Params", "imports Params from vllm.sampling.Params", None),
        (f"{CORE}#core", "defines no core", None),
        ("vllm/core.py", "has no vllm/core.py", "vllm/engine/core.py"),
        ("vllm/_version.py", "does not have it", None),
        (f'{CORE}#Core.step@"finish("', "is on 2 lines", None),
        (f'{CORE}#Core.step@"finish(valu"', None, None),
        (f'{CORE}#Core.step@"prepare(value)"', "is on no line", "value = prepare()"),
        (f'{CORE}#Core.get@"prepare()"', "is on no line of", None),
        ("vllm/engine#Core", "is a folder", None),
        ("env:VLLM_LEVLE", "has no entry", "env:VLLM_LEVEL"),
        ("flag:--max-num-seq", "no command", "flag:--max-num-seqs"),
        ("flag:--method", "no command", None),
        ("flag:--seed", "2 other commands", "vllm/bench/one.py, line 2"),
        ('log:"Twice is"', "2 logger calls", "vllm/logs.py, line 2"),
        ('log:"has printed"', "no logger call", None),
        ("csrc/kernel.cu#twice", "2 times", None),
        ("csrc/kernel.cu#other", "defines no other", None),
        ("docs/guide.md#Twice", "no heading 'Twice', or has it twice", None),
        ("docs/guide.md#not a heading", "no heading", None),
        ("py:vllm.nothing.here", "defines no nothing", None),
        ("py:torch.Tensor", "has no module", None),
    ],
)
def test_a_wrong_target_is_refused_with_what_is_near(
    resolver: Resolver, target: str, reason: str | None, nearest: str | None
) -> None:
    if reason is None:  # the fragment is long enough to be on one line only
        assert resolver.resolve(target).kind == "line"
        return
    with pytest.raises(AnchorError) as caught:
        resolver.resolve(target)
    assert reason in caught.value.reason
    if nearest:
        assert nearest in caught.value.nearest


@pytest.mark.parametrize(
    "claim",
    [
        "CacheConfig.fraction=0.92",
        "CacheConfig.positional=8",
        "CacheConfig.rows=16",
        "CacheConfig.rows=DEFAULT_ROWS",
        "CacheConfig.flag=True",
        "CacheConfig.made=Field(default_factory=list)",
        "DEFAULT_ROWS=16",
    ],
)
def test_a_true_default_resolves(resolver: Resolver, claim: str) -> None:
    name = claim.split("=")[0].rpartition(".")[2]
    place = resolver.resolve(f"default:vllm/config.py#{claim}")
    assert place.slice(resolver.tree)[0].strip().startswith(name)


def test_a_parameter_has_a_default(resolver: Resolver) -> None:
    line = "def __init__(self, depth: int = 4, *, wide=False):"
    for claim in ("depth=4", "wide=False"):
        place = resolver.resolve(f"default:{CORE}#Core.__init__.{claim}")
        assert place.slice(resolver.tree)[0].strip() == line


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        ("CacheConfig.fraction=0.9", "the default is 0.92, not 0.9"),
        ("CacheConfig.flag=1", "the default is True, not 1"),
        ("CacheConfig.rows=16.0", "the default is 16, not 16.0"),
        ("CacheConfig.made=[]", "the default is Field"),
        ("CacheConfig.bare=1", "has no default"),
        ("CacheConfig.nothing=1", "defines no CacheConfig.nothing"),
    ],
)
def test_a_false_default_is_refused_with_the_true_one(
    resolver: Resolver, claim: str, reason: str
) -> None:
    with pytest.raises(AnchorError, match=reason):
        resolver.resolve(f"default:vllm/config.py#{claim}")


def test_only_the_named_file_is_parsed(resolver: Resolver) -> None:
    resolver.resolve(f"{CORE}#Core.step")
    assert list(resolver._tables) == [CORE]


def test_a_refusal_is_remembered_and_raised_again(resolver: Resolver) -> None:
    for _ in range(2):
        with pytest.raises(AnchorError):
            resolver.resolve(f"{CORE}#Nothing")


def test_a_carriage_return_does_not_change_the_digest(resolver: Resolver) -> None:
    place = resolver.resolve(f"{CORE}#Core.step")
    before = place.digest(resolver.tree)
    file = resolver.tree.root / CORE
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    again = Resolver(type(resolver.tree)(resolver.tree.root), resolver.pin)
    assert again.resolve(place.target).digest(again.tree) == before
