"""What all tests share: how long an example may take, and one Chromium to look at pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# An example has no deadline, and drawing it none either: on a shared machine both would fail a test
# for a pause that is nobody's fault. All else is as hypothesis has it, here or where `CI` is set.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium; `CHROMIUM` names the program."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    program = next(filter(None, map(shutil.which, filter(None, names))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield chromium
        chromium.close()
