"""JSON lines: an object in each line, as Hugging Face's image folders have beside their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.data.sources.columns import Columns
from hpsearch.errors import DataError


def json_lines(path: Path) -> Columns:
    """Return a row for each line: text and numbers as text, other values as JSON.

    A value that a line lacks, and null, are empty. Raises DataError that names the line.
    """
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8: {error}") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise DataError(f'{path}: line {number} is no object; write {{"file_name": ...}}')
        rows.append(row)
        numbers.append(number)
    if not rows:
        raise DataError(f"{path}: holds no lines")
    names = list(dict.fromkeys(name for row in rows for name in row))
    values = {n: np.array([_text(row.get(n)) for row in rows], object) for n in names}
    return Columns(str(path), "key", [f"line {number}" for number in numbers], values)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
