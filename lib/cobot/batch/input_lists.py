"""Lists of images: a CSV or JSON file of paths."""

import csv
import json
from pathlib import Path

from cobot.errors import ConfigError

LIST_SUFFIXES = (".csv", ".json")
COLUMN_NAMES = ("image", "path", "file")
"""What the column of paths may be called; without such a header the first column counts."""


def read_list(path: Path) -> tuple[Path, ...]:
    """The paths in a list; relative ones count from the list's own folder.

    Args:
        path: .csv with the paths in a column "image", "path" or "file", or in the first column of
            a table without a header; or .json: a list of paths, or of objects with such a key.

    Raises:
        ConfigError: the file cannot be read, is of another form, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        names = _from_json(text) if path.suffix.lower() == ".json" else _from_csv(text)
    except (OSError, ValueError, csv.Error) as error:
        raise ConfigError(
            f"{path} cannot be read as a list of images ({error}); expected a .csv with the paths "
            'in a column "image" or in the first column, or a .json list of paths.'
        ) from error
    if not names:
        raise ConfigError(f"{path} lists no image; give one path a line.")
    return tuple(path.parent / Path(name).expanduser() for name in names)


def _from_csv(text: str) -> list[str]:
    reader = csv.reader(text.splitlines())
    rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    header = [cell.strip().lower() for cell in rows[0][1]] if rows else []
    column = next((header.index(name) for name in COLUMN_NAMES if name in header), None)
    if column is None:
        return [_cell(row, 0, line) for line, row in rows]
    return [_cell(row, column, line) for line, row in rows[1:]]


def _cell(row: list[str], column: int, line: int) -> str:
    """The path in a row; one without is refused, for its image would silently be left out."""
    path = row[column].strip() if column < len(row) else ""
    if not path:
        raise ValueError(
            f"line {line}, {','.join(row)!r}, has no path in column {column + 1}; add the path or "
            "take the line out"
        )
    return path


def _from_json(text: str) -> list[str]:
    entries = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("it holds no list")
    return [_named(entry) for entry in entries]


def _named(entry: object) -> str:
    if isinstance(entry, dict):
        entry = next((entry[name] for name in COLUMN_NAMES if name in entry), None)
    if not isinstance(entry, str) or not entry.strip():
        raise ValueError(f"an entry is {entry!r} and names no path")
    return entry
