r"""The ePub: a picture of the cover, Sphinx's builder, and the validator where there is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from book.downloads import NAME, ROOT, WORK
from book.downloads.cover import cover
from book.downloads.printing import photograph
from book.serving.building import environment

VALIDATOR = "epubcheck"
SHAPE = (1600, 2560)  # what readers' shelves expect
_PAGE = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; font-family: "IBM Plex Sans", sans-serif; color: #23272f; }
.cover { width: 1600px; height: 2560px; overflow: hidden; background: #f7f5f0; }
.cover > svg { display: block; width: 1600px; height: 2560px; }
.cover-plain { padding: 520px 200px; border-left: 60px solid #b4530f; font-size: 52px; }
.cover-title { font-size: 240px; line-height: 1.05; margin: 60px 0; font-weight: 600; }
</style>"""


class EpubFailed(RuntimeError):
    """Sphinx did not make the ePub."""


def make(target: Path) -> None:
    """Build the ePub into `target`, from the sources, beside the build of the site."""
    work = WORK
    picture = work / "cover.png"
    work.mkdir(parents=True, exist_ok=True)
    source = work / "cover.html"
    source.write_text(_PAGE + cover(), encoding="utf-8")
    photograph(source, picture, *SHAPE)
    out = work / "epub"
    shutil.rmtree(out, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "sphinx", "-q", "-b", "epub", "-n", "-W", "--keep-going"),
        *("-d", str(WORK / "doctrees"), "-D", f"epub_basename={NAME}"),
        *("-D", f"edition_cover={picture.relative_to(ROOT).as_posix()}"),
        *(str(ROOT), str(out)),
    ]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
    )
    made = out / f"{NAME}.epub"
    if done.returncode or not made.is_file():
        kept = [line for line in done.stderr.splitlines() if "IPKernelApp" not in line]
        raise EpubFailed("\n".join(kept[-20:]))
    shutil.copyfile(made, target)


def validate(path: Path) -> tuple[int, str] | None:
    """What the validator says: its status and words; `None` where it is not installed."""
    program = shutil.which(VALIDATOR)
    if program is None:
        return None
    # Debian's is an archive of Java that only some kernels run by itself.
    archive = Path(program).resolve()
    command = ["java", "-jar", str(archive)] if archive.suffix == ".jar" else [program]
    done = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, check=False, errors="replace"
    )
    return done.returncode, (done.stdout + done.stderr).strip()
