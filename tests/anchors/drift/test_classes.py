"""Every class of the taxonomy, each with the smallest change that makes it."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from upstream_anchors.drift.fate import OUTCOMES

B = "vllm/core/blocks.py"
ALLOCATE = f"{B}#Pool.allocate"
LINE = f'{B}#Pool.allocate@"taken = ["'
FINGERPRINT = f"{B}#fingerprint"
OTHER = "vllm/core/pool.py"


def test_a_tree_beside_itself_is_all_same(fates: Callable) -> None:
    found = fates({})
    assert {fate.outcome for fate in found.values()} == {"same"}
    assert all(fate.holds and fate.text == "same" for fate in found.values())


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shift=st.integers(1, 40))
def test_blank_lines_above_only_move(fates: Callable, files: dict, shift: int) -> None:
    found = fates({B: "\n" * shift + files[B]})
    for target, fate in found.items():
        if fate.path != B:
            continue
        if target in (B, "py:vllm.core.blocks"):
            assert fate.outcome == "reworded"  # a file's text is all of it
        else:
            assert fate.outcome == "moved"
            assert fate.holds
            assert (fate.added, fate.removed) == (0, 0)
    steps = {fate.lines[0] for fate in found.values() if fate.outcome == "moved"}
    before = {fate.lines[0] for fate in fates({}).values() if fate.path == B and fate.lines}
    assert steps == {first + shift for first in before}


NAMES = st.from_regex(r"[a-z]{4,9}_[a-z]{4,9}", fullmatch=True)


@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=NAMES)
def test_one_renamed_function_is_found(fates: Callable, files: dict, name: str) -> None:
    found = fates({B: files[B].replace("fingerprint", name)}, [FINGERPRINT, ALLOCATE])
    fate = found[FINGERPRINT]
    assert (fate.outcome, fate.symbol, fate.text) == ("renamed", name, "changed")
    assert fate.score >= 0.6
    assert not fate.holds
    assert found[ALLOCATE].outcome == "same"


def test_a_body_changed(fates: Callable, blocks: str, edit: Callable) -> None:
    found = fates({B: edit(blocks, ("reversed(", "sorted("))})
    fate = found[f"{B}#Pool.release"]
    assert (fate.outcome, fate.added, fate.removed, fate.holds) == ("changed", 1, 1, True)
    assert found[f"{B}#Pool"].outcome == "changed"
    assert found[ALLOCATE].outcome == "same"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Take blocks."""', '"""Take some blocks."""'),
        ("taken = [self.free.pop()", "# newest first\n        taken = [self.free.pop()"),
        ("wanted: int) ->", "wanted: int\n    ) ->"),
    ],
)
def test_docstring_comment_and_layout_are_wording(
    fates: Callable, blocks: str, edit: Callable, old: str, new: str
) -> None:
    assert fates({B: edit(blocks, (old, new))})[ALLOCATE].outcome == "reworded"


def test_a_file_moved_with_all_that_is_in_it(fates: Callable, blocks: str) -> None:
    found = fates({B: None, OTHER: blocks})
    for target in (B, f"{B}#Pool", ALLOCATE, LINE, f"{B}#LIMIT", f"{B}#Pool.size", FINGERPRINT):
        fate = found[target]
        assert (fate.outcome, fate.path, fate.text) == ("moved-file", OTHER, "same"), target
        assert not fate.holds
    assert found[f"default:{B}#Pool.size=8"].outcome == "moved-file"
    assert found["docs/notes.md#Blocks"].outcome == "same"
    assert found["vllm/core"].outcome == "changed"


def test_a_class_renamed_takes_its_methods_along(fates: Callable, files: dict) -> None:
    found = fates({B: files[B].replace("class Pool", "class BlockPool")})
    assert found[f"{B}#Pool"].symbol == "BlockPool"
    fate = found[ALLOCATE]
    assert (fate.outcome, fate.symbol, fate.text) == ("renamed", "BlockPool.allocate", "same")
    assert found[LINE].outcome == "renamed"


def test_moved_and_renamed_at_once(fates: Callable, blocks: str, edit: Callable) -> None:
    start = blocks.index("def fingerprint")
    end = blocks.index("def budget")
    taken, rest = blocks[start:end], blocks[:start] + blocks[end:]
    moved = taken.replace("fingerprint", "token_fingerprint")
    fate = fates({B: rest, "vllm/core/hashing.py": moved})[FINGERPRINT]
    assert (fate.outcome, fate.path) == ("renamed-moved", "vllm/core/hashing.py")
    assert fate.symbol == "token_fingerprint"


def test_a_split_file_gives_each_definition_its_own_place(fates: Callable, blocks: str) -> None:
    at = blocks.index("def fingerprint")
    found = fates({B: None, "vllm/core/pool.py": blocks[:at], "vllm/core/hashing.py": blocks[at:]})
    assert found[ALLOCATE].path == "vllm/core/pool.py"
    assert found[FINGERPRINT].path == "vllm/core/hashing.py"
    assert found[FINGERPRINT].outcome == "moved-file"


def test_an_import_left_behind_is_a_trail(fates: Callable, blocks: str, edit: Callable) -> None:
    at = blocks.index("def budget")
    new = "def budget(total, share):\n    return round(share * total * 2)\n"
    left = "from vllm.core.limits import budget\n" + blocks[:at]
    fate = fates({B: left, "vllm/core/limits.py": new}, [f"{B}#budget"])[f"{B}#budget"]
    assert (fate.outcome, fate.path) == ("moved-file", "vllm/core/limits.py")


def test_what_has_no_likeness_is_gone(fates: Callable, blocks: str) -> None:
    at, end = blocks.index("def fingerprint"), blocks.index("def budget")
    unlike = "def checksum(path):\n    with open(path) as stream:\n        return stream.read()\n"
    fate = fates({B: blocks[:at] + unlike + blocks[end:]})[FINGERPRINT]
    assert (fate.outcome, fate.holds, fate.text) == ("gone", False, "")


def test_two_equal_candidates_are_no_answer(fates: Callable, blocks: str) -> None:
    at, end = blocks.index("def fingerprint"), blocks.index("def budget")
    body = blocks[at:end]
    twice = body.replace("fingerprint", "left_print") + body.replace("fingerprint", "right_print")
    fate = fates({B: blocks[:at] + twice + blocks[end:]})[FINGERPRINT]
    assert fate.outcome == "gone"
    assert "torn between" in fate.note


def test_another_implementation_of_the_name_is_no_successor(
    fates: Callable, blocks: str, files: dict
) -> None:
    # `release` is what every pool has; one of a class that was always another is not this one.
    start, end = blocks.index("    def release"), blocks.index("    @property")
    release = blocks[start:end]
    sibling = "class DiskPool:\n    def release(self, owner):\n        pass\n"
    old = {**files, "vllm/core/disk.py": sibling}
    without = blocks[:start] + blocks[end:]
    new_pool = f"class RemotePool:\n{release}"
    found = fates({B: without, "vllm/core/remote.py": new_pool}, [f"{B}#Pool.release"], old)
    assert found[f"{B}#Pool.release"].outcome == "gone"


def test_a_method_that_went_up_to_a_base_is_followed(fates: Callable, blocks: str) -> None:
    start, end = blocks.index("    def release"), blocks.index("    @property")
    base = f"class Releasing:\n{blocks[start:end]}"
    new = "from vllm.core.releasing import Releasing\n" + blocks[:start] + blocks[end:]
    new = new.replace("class Pool:", "class Pool(Releasing):")
    fate = fates({B: new, "vllm/core/releasing.py": base})[f"{B}#Pool.release"]
    assert (fate.outcome, fate.symbol) == ("renamed-moved", "Releasing.release")


def test_of_two_halves_the_one_that_is_called_is_the_successor(
    fates: Callable, files: dict
) -> None:
    caller = "from vllm.core.report import report\n\n\ndef start(config):\n    report(config)\n"
    first = "    size = config.blocks * config.block_size\n"
    second = "    print(size, config.name, config.length)\n"
    body = f"def report(config):\n{first}{second}"
    left = f"def measure(config):\n{first}    return size\n"
    right = f"def publish(config, size):\n{second}    return size\n"
    old = {**files, "vllm/core/report.py": body, "vllm/core/start.py": caller}
    halves = {"vllm/core/report.py": f"{left}\n\n{right}"}
    target = "vllm/core/report.py#report"
    torn = fates(halves, [target], old)[target]
    assert (torn.outcome, "torn" in torn.note) == ("gone", True)
    called = {"vllm/core/start.py": caller.replace("report(config)", "publish(config, 1)")}
    fate = fates(halves | called, [target], old)[target]
    assert (fate.outcome, fate.symbol) == ("renamed", "publish")


def test_decorators_belong_to_a_definition(fates: Callable, blocks: str, edit: Callable) -> None:
    new = edit(blocks, ("    @property\n    def usage", "    @cached_property\n    def usage"))
    assert fates({B: new})[f"{B}#Pool.usage"].outcome == "changed"


def test_overload_stubs_do_not_hide_the_definition(
    fates: Callable, blocks: str, edit: Callable
) -> None:
    stub = "@overload\ndef fingerprint(tokens: str, parent: int) -> int: ...\n\n\n"
    fate = fates({B: edit(blocks, ("def fingerprint", f"{stub}def fingerprint"))})[FINGERPRINT]
    assert fate.outcome == "moved"


def test_an_alias_left_behind_is_not_the_class(fates: Callable, blocks: str) -> None:
    new = blocks.replace("class Pool:", "class BlockPool:") + "\n\nPool = BlockPool\n"
    fate = fates({B: new})[f"{B}#Pool"]
    assert (fate.outcome, fate.symbol) == ("renamed", "BlockPool")


# Lines.


@pytest.mark.parametrize(
    ("old", "new", "outcome", "holds"),
    [
        ("range(wanted)]", "range(wanted + 1)]", "changed", True),
        ("taken = [self", "chosen = [self", "changed", False),
        ("        taken = [", "            taken = [", "reworded", True),
        ("        taken = [self.free.pop() for _ in range(wanted)]\n", "", "gone", False),
    ],
)
def test_a_line(
    fates: Callable, blocks: str, edit: Callable, old: str, new: str, outcome: str, holds: bool
) -> None:
    text = edit(blocks, (old, new))
    if outcome == "reworded":  # one level deeper must still be Python
        text = text.replace("            taken", "        if True:\n            taken")
    fate = fates({B: text})[LINE]
    assert (fate.outcome, fate.holds) == (outcome, holds)
    if outcome == "gone":
        assert fate.note == "its symbol stands"


def test_a_line_that_went_to_another_function(fates: Callable, blocks: str, edit: Callable) -> None:
    line = "        taken = [self.free.pop() for _ in range(wanted)]\n"
    text = edit(blocks, (line, "        taken = self._take(wanted)\n"))
    text = edit(
        text,
        (
            "    def release",
            f"    def _take(self, wanted):\n{line}        return taken\n\n    def release",
        ),
    )
    fate = fates({B: text})[LINE]
    assert fate.holds is False
    assert fate.symbol == "Pool._take" or fate.outcome == "changed"


def test_a_fragment_that_became_ambiguous(fates: Callable, blocks: str, edit: Callable) -> None:
    line = "        taken = [self.free.pop() for _ in range(wanted)]\n"
    fate = fates({B: edit(blocks, (line, line + "        taken = [*taken]\n"))})[LINE]
    assert (fate.outcome, fate.holds) == ("same", False)
    assert "2 lines" in fate.note


# Facts.


@pytest.mark.parametrize(
    ("old", "new", "target", "outcome", "note"),
    [
        ("size: int = 8", "size: int = 16", f"default:{B}#Pool.size=8", "changed", "now 16"),
        ("size: int = 8", "size: float = 8", f"default:{B}#Pool.size=8", "reworded", ""),
        ("    size: int = 8\n", "", f"default:{B}#Pool.size=8", "gone", "its class stands"),
        ("= 0.9)", "= 0.95)", f"default:{B}#budget.share=0.9", "changed", "now 0.95"),
    ],
)
def test_a_default(
    fates: Callable,
    blocks: str,
    edit: Callable,
    old: str,
    new: str,
    target: str,
    outcome: str,
    note: str,
) -> None:
    fate = fates({B: edit(blocks, (old, new))})[target]
    assert (fate.outcome, fate.note) == (outcome, note)
    assert fate.holds is (outcome == "reworded")


def test_a_log_that_says_it_otherwise(fates: Callable, blocks: str, edit: Callable) -> None:
    target = 'log:"blocks are left"'
    fate = fates({B: edit(blocks, ("Only %d blocks are left", "Only %d blocks remain"))})[target]
    assert (fate.outcome, fate.holds, fate.note) == (
        "changed",
        False,
        "the text of the log changed",
    )
    silent = edit(
        blocks, ('            logger.warning("Only %d blocks are left", len(self.free))\n', "")
    )
    assert fates({B: silent})[target].outcome == "gone"


def test_a_flag(fates: Callable, files: dict, edit: Callable) -> None:
    path, target = "vllm/engine/arg_utils.py", "flag:--block-size"
    typed = edit(files[path], ('"--block-size", type=int', '"--block-size", type=str'))
    assert fates({path: typed})[target].outcome == "changed"
    renamed = edit(files[path], ("--block-size", "--page-size"))
    assert fates({path: renamed})[target].outcome == "gone"


def test_a_flag_that_is_a_field_follows_its_class(fates: Callable, files: dict) -> None:
    path = "vllm/entrypoints/openai/cli_args.py"
    fate = fates({path: None, "vllm/entrypoints/launch/cli_args.py": files[path]})[
        "flag:--log-outputs"
    ]
    assert (fate.outcome, fate.path) == ("moved-file", "vllm/entrypoints/launch/cli_args.py")


def test_an_environment_variable(fates: Callable, files: dict, edit: Callable) -> None:
    path, target = "vllm/envs.py", "env:VLLM_LEVEL"
    assert fates({path: edit(files[path], ('"INFO"', '"DEBUG"'))})[target].outcome == "changed"
    assert fates({path: edit(files[path], ("VLLM_LEVEL", "VLLM_LOUD"))})[target].outcome == "gone"


def test_a_kernel_and_its_line(fates: Callable, files: dict, edit: Callable) -> None:
    path = "csrc/copy.cu"
    found = fates({path: edit(files[path], ("  int at", "  // where\n  int at"))})
    assert found[f"{path}#copy_block"].outcome == "reworded"
    found = fates({path: None, "csrc/stable/copy.cu": files[path]})
    assert found[f"{path}#copy_block"].outcome == "moved-file"
    assert found[f'{path}#copy_block@"to[at] = from[at]"'].path == "csrc/stable/copy.cu"


def test_a_section_of_a_text(fates: Callable, files: dict, edit: Callable) -> None:
    path = "docs/notes.md"
    assert (
        fates({path: edit(files[path], ("sixteen", "eight"))})[f"{path}#Blocks"].outcome
        == "changed"
    )


def test_a_folder_that_moved(fates: Callable, files: dict) -> None:
    changes = {path: None for path in files if path.startswith("vllm/core/")}
    changes |= {p.replace("/core/", "/kernel/"): files[p] for p in changes}
    fate = fates(changes)["vllm/core"]
    assert (fate.outcome, fate.path) == ("moved-file", "vllm/kernel")


def test_a_file_of_a_newer_grammar_is_no_crash(fates: Callable, blocks: str) -> None:
    with pytest.raises(SyntaxError):
        ast.parse("def (:")
    found = fates({B: "def (:\n"}, [ALLOCATE, LINE, B])
    assert found[ALLOCATE].outcome == "gone"
    assert found[B].outcome == "changed"


def test_only_the_classes_that_are_documented_occur(fates: Callable, blocks: str) -> None:
    found = fates({B: blocks.replace("free", "idle")})
    assert {fate.outcome for fate in found.values()} <= set(OUTCOMES)
