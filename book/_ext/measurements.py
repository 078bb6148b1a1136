r"""`{measurement} name`: where a timed result comes from, printed below what shows it."""

from __future__ import annotations

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from book._ext.boxes import new_box
from book.measurements import FOLDER, MeasurementError, measurement


class MeasurementNote(SphinxDirective):
    """Machine, versions, command, date and number of runs of a committed measurement."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Read it and print its provenance."""
        name = self.arguments[0]
        try:
            found = measurement(name)
        except MeasurementError as problem:
            raise self.error(f"measurement: {problem}") from problem
        self.env.note_dependency(str(FOLDER / f"{name}.json"))
        text = f"{found.what} {found.provenance()}"
        return [new_box("measurement-note", *self.parse_text_to_nodes(text))]


def setup(app: Sphinx) -> dict[str, object]:
    """Register the directive."""
    app.add_directive("measurement", MeasurementNote)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
