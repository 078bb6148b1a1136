"""Committed measurements say where they come from, or are refused."""

from __future__ import annotations

import json

import pytest

from book.measurements import FOLDER, MeasurementError, measurement, record

GOOD = {"what": "Tokens a second.", "command": "nox -s bench", "values": {"x": [1, 2]}, "runs": 5}


def test_what_is_recorded_is_read_again(tmp_path):
    record("speed", **GOOD, machine="a machine", taken="2026-01-02", folder=tmp_path)
    found = measurement("speed", tmp_path)
    assert found.values == {"x": [1, 2]}
    text = found.provenance()
    for part in ("5 runs", "2026-01-02", "a machine", "python 3.", "nox -s bench"):
        assert part in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"runs": 1}, "median of 1 runs"),
        ({"command": ""}, "does not say its command"),
        ({"values": {}}, "has no values"),
        ({"machine": " "}, "does not say its machine"),
    ],
)
def test_one_without_provenance_is_refused(tmp_path, change, complaint):
    with pytest.raises(MeasurementError, match=complaint):
        record("speed", **{**GOOD, "machine": "m", **change}, folder=tmp_path)
    assert not (tmp_path / "speed.json").exists()


def test_a_missing_or_foreign_file_is_refused(tmp_path):
    with pytest.raises(MeasurementError, match="no measurement 'speed'"):
        measurement("speed", tmp_path)
    (tmp_path / "speed.json").write_text(json.dumps({"colour": "red"}))
    with pytest.raises(MeasurementError, match="colour"):
        measurement("speed", tmp_path)


def test_every_committed_measurement_can_be_read():
    for path in sorted(FOLDER.glob("*.json")):
        assert measurement(path.stem).provenance()
