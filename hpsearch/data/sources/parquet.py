"""Parquet tables, as Hugging Face publishes data sets: texts, numbers, or pictures as bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpsearch.data.sources.columns import Columns
from hpsearch.data.sources.published import COLUMN, role_of
from hpsearch.errors import DataError


def columns_of(files: Sequence[Path]) -> Columns:
    """Return the columns of Parquet files, and in `split` the part that a file's name says.

    A picture is a structure of its bytes and its name, and becomes the bytes; class numbers become
    names where the file has them (`ClassLabel`). Raises DataError.
    """
    try:
        import pyarrow.parquet
    except ImportError:
        raise DataError(
            f"{files[0]}: Parquet is read by pyarrow, which is not installed; install "
            "hpsearch[parquet]"
        ) from None
    values: dict[str, list[Any]] = {}
    parts: list[str] = []
    for path in files:
        try:
            table = pyarrow.parquet.read_table(path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
            raise DataError(f"{path}: is not a Parquet table: {error}") from None
        if values and set(values) != set(table.column_names):
            other = sorted(set(values) ^ set(table.column_names))[0]
            raise DataError(f"{path}: column '{other}' is not in all of {len(files)} files")
        try:
            names = _class_names(table.schema.metadata)
        except (ValueError, AttributeError, TypeError) as error:
            raise DataError(f"{path}: its Hugging Face metadata cannot be read: {error}") from None
        for name in table.column_names:
            read = [_value(value, names.get(name)) for value in table[name].to_pylist()]
            values.setdefault(name, []).extend(read)
        parts += [path.stem.split("-")[0]] * table.num_rows
    columns = {name: _array(read) for name, read in values.items()}
    if COLUMN not in columns and any(role_of(part) for part in set(parts)):
        columns[COLUMN] = np.array(parts, object)
    rows = [f"row {number}" for number in range(1, len(parts) + 1)]
    place = str(files[0] if len(files) == 1 else files[0].parent)
    return Columns(place, "column", rows, columns)


def _class_names(metadata: dict[bytes, bytes] | None) -> dict[str, list[str]]:
    """Return the names of the classes of each column that has some."""
    stated = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    features = stated.get("info", {}).get("features", {})
    return {name: list(kind["names"]) for name, kind in features.items() if "names" in kind}


def _value(value: Any, names: list[str] | None) -> Any:
    if isinstance(value, dict) and "bytes" in value:
        return value["bytes"] if value["bytes"] is not None else str(value.get("path", ""))
    if names is not None and isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    if isinstance(value, bytes):
        return value
    return "" if value is None else str(value)


def _array(values: list[Any]) -> Any:
    column = np.empty(len(values), object)
    column[:] = values
    return column
