"""The dashboards are what the code makes."""

from monitoring.dashboards import DASHBOARDS, FOLDER, described


def test_the_files_are_those_that_the_code_writes() -> None:
    written = {path.name: path.read_text() for path in FOLDER.iterdir()}
    made = {f"{title.lower()}.json": described(title, panels) for title, panels in DASHBOARDS.items()}
    assert written == made, "run `python -m monitoring.dashboards`"
