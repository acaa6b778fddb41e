"""What is to be learned of each example, read from named columns."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpsearch.data.findings import Finding
from hpsearch.data.sources.columns import Columns, Values
from hpsearch.errors import DataError
from hpsearch.study.data import Data

NUMBER = "write one as 0.5 or 1e-3, or leave the example out"
LONGEST_NUMBER = 100  # digits; a longer run of them is a name, and Python reads no 4,300
LARGEST_WHOLE = 2**53  # from there on neighbouring whole numbers are one float
FLAGS = {"true": "1", "false": "0", "yes": "1", "no": "0"}


def targets_of(columns: Columns, data: Data) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return targets as in `Labelled`, and the names of the outputs.

    A class is any text or whole number; labels are 0 or 1 in a column each, or named in one column
    with a separator between them; numbers are finite. Raises DataError where a value is none.
    """
    names = data.target_names()
    if data.task == "single-label":
        return _classes(columns, names[0])
    if data.separator is not None:
        return _named_labels(columns, names[0], data.separator)
    parts = [_rows_of(columns.of(name, "target")) for name in names]
    outputs = tuple(
        output
        for name, part in zip(names, parts, strict=True)
        for output in _outputs(name, part, alone=len(names) == 1)
    )
    read = _flags if data.task == "multi-label" else _numbers
    found = [read(columns, name, part) for name, part in zip(names, parts, strict=True)]
    return np.concatenate(found, axis=1), outputs


def labels_decided(columns: Columns, data: Data) -> tuple[str, ...]:
    """Return sentences on how labels are read that can be written in several ways."""
    if data.task != "multi-label" or data.separator is not None:
        return ()
    minus = [
        f"'{name}'"
        for name in data.target_names()
        if columns.values[name].dtype.kind not in "U"
        and _minus_is_no(_as_numbers(columns, name, _rows_of(columns.values[name])))
    ]
    if not minus:
        return ()
    return (f"labels: -1 is no and 1 is yes in {', '.join(minus)}, which hold nothing else",)


def label_findings(columns: Columns, data: Data) -> tuple[Finding, ...]:
    """Tell where the type of an array cannot tell its classes apart."""
    values = columns.values[data.target_names()[0]]
    if data.task != "single-label" or values.dtype.kind != "f":
        return ()
    limit = 2 ** (np.finfo(values.dtype).nmant + 1)
    beyond = int((np.abs(values) >= limit).sum())
    if not beyond:
        return ()
    return (
        Finding(
            "classes-merged-by-their-type",
            beyond,
            f"{beyond:,} labels are {limit:,} or more, and neighbours there are one number in "
            f"{values.dtype}: different classes may have become one before they were saved",
            "save classes as integers",
        ),
    )


def groups_of(columns: Columns, data: Data) -> NDArray[Any] | None:
    """Return the name of the group of each example, None where the study has no groups."""
    if data.groups is None:
        return None
    values = _squeezed(columns.of(data.groups, "groups"))
    if values.ndim != 1:
        raise DataError(
            f"{columns.place}: {columns.noun} '{data.groups}' has the shape {values.shape}; "
            "groups need one value for each example"
        )
    names = _texts(values)
    columns.refuse(data.groups, names == "", "is empty", "name the group of every example")
    return names


def _texts(values: Values) -> NDArray[Any]:
    """Return values as text in an object array, without spaces around it."""
    return np.array([str(value).strip() for value in values.tolist()], object)


def _squeezed(values: Values) -> Values:
    """Return values of a shape such as (N, 1, 1, 1), one for each example, as `(N,)`."""
    return values.reshape(len(values)) if values.size == len(values) else values


def _rows_of(values: Values) -> Values:
    """Return values of a shape such as (N, 4, 1, 1) as `(N, 4)`, others as they are."""
    flat = values.ndim > 2 and values.size == values.shape[0] * values.shape[1]
    return values.reshape(values.shape[:2]) if flat else values


def _is_one_hot(values: Values) -> bool:
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        return False
    return bool(np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all())


def _refuse_missing(columns: Columns, name: str, values: Values, what: str) -> None:
    """Raise DataError where an example has NaN for what is to be learned of it."""
    rows = np.flatnonzero(np.isnan(values).reshape(len(values), -1).any(axis=1))
    if len(rows):
        more = f", and {len(rows) - 1} more have none" if len(rows) > 1 else ""
        raise DataError(
            f"{columns.place}: {columns.examples[rows[0]]} has no {what}{more}: {columns.noun} "
            f"'{name}' is NaN there; leave such examples out"
        )


def _classes(columns: Columns, name: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    values = _squeezed(columns.of(name, "target"))
    if values.ndim != 1:
        instead = "say task: multi-label or task: regression"
        if _is_one_hot(values):
            instead = (
                f"its rows hold a single 1, as one-hot codes do: save {name}.argmax(axis=1), or "
                "say task: multi-label"
            )
        raise DataError(
            f"{columns.place}: {columns.noun} '{name}' has the shape {values.shape}, and a single "
            f"label is one value for each example; {instead}"
        )
    if values.dtype.kind == "f":
        _refuse_missing(columns, name, values, "label")
        wrong = ~np.isfinite(values) | (values != np.round(values))
        what = "holds numbers that are no whole ones"
        columns.refuse(name, wrong, what, "are they to be predicted? say task: regression")
        too_large = np.abs(values.astype(np.float64)) >= LARGEST_WHOLE
        what = "holds whole numbers above 2^53, of which floats cannot tell neighbours apart"
        columns.refuse(name, too_large, what, "keep classes as integers or text")
        values = values.astype(np.int64)
    texts = _texts(values)
    columns.refuse(name, texts == "", "is empty", "name the class of every example")
    classes = sorted(set(texts.tolist()), key=natural)
    if len(classes) > max(2, len(texts) // 3) and all(np.isfinite(_number(c)) for c in classes):
        raise DataError(
            f"{columns.place}: {columns.noun} '{name}' has {len(classes)} different values in "
            f"{len(texts)} examples, and a class needs three or more; is it a number to predict "
            "(task: regression)?"
        )
    numbers = {text: number for number, text in enumerate(classes)}
    return np.array([numbers[text] for text in texts], np.int64), tuple(classes)


def natural(text: str) -> tuple[int, int, str]:
    """Return a key that sorts whole numbers by size and before all else."""
    is_whole = len(text) <= LONGEST_NUMBER and re.fullmatch(r"-?\d+", text)
    return (0, int(text), text) if is_whole else (1, 0, text)


def _named_labels(
    columns: Columns, name: str, separator: str
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Return targets of labels that stand in one column; an empty one is an image without any."""
    texts = _texts(columns.of(name, "target"))
    sets = [{part.strip() for part in text.split(separator)} - {""} for text in texts]
    labels = sorted({label for found in sets for label in found}, key=natural)
    if not labels:
        raise DataError(f"{columns.place}: {columns.noun} '{name}' is empty throughout")
    numbers = {label: number for number, label in enumerate(labels)}
    targets = np.zeros((len(texts), len(labels)), np.float32)
    for row, found in enumerate(sets):
        targets[row, [numbers[label] for label in found]] = 1
    return targets, tuple(labels)


def _outputs(name: str, values: Values, alone: bool) -> tuple[str, ...]:
    if values.ndim == 1:
        return (name,)
    return tuple(str(i) if alone else f"{name} {i}" for i in range(values.shape[1]))


def _flags(columns: Columns, name: str, values: Values) -> NDArray[np.float32]:
    if values.dtype.kind in "OU" and values.ndim == 1:
        values = np.array([FLAGS.get(text.lower(), text) for text in _texts(values)], object)
    numbers = _as_numbers(columns, name, values)
    if values.dtype.kind == "f":
        _refuse_missing(columns, name, numbers, "label")
    if _minus_is_no(numbers):
        numbers = np.maximum(numbers, 0)
    wrong = (~np.isin(numbers, (0, 1))).max(axis=1)
    what = "holds a value that is neither 0 nor 1"
    instead = "write 0 or 1 for each label, or say with separator: what stands between their names"
    columns.refuse(name, wrong, what, instead)
    return numbers.astype(np.float32)


def _minus_is_no(numbers: NDArray[np.float64]) -> bool:
    """Whether labels are -1 and 1 and nothing else, as CelebA writes them."""
    return bool(np.isin(numbers, (-1, 1)).all() and (numbers == -1).any())


def _numbers(columns: Columns, name: str, values: Values) -> NDArray[np.float32]:
    numbers = _as_numbers(columns, name, values)
    if values.dtype.kind == "f":
        _refuse_missing(columns, name, numbers, "number")
    with np.errstate(over="ignore"):
        floats = numbers.astype(np.float32)
    what = "holds a value that is no finite number"
    columns.refuse(name, (~np.isfinite(floats)).max(axis=1), what, NUMBER)
    for i, (low, high) in enumerate(zip(floats.min(0), floats.max(0), strict=True)):
        if low == high:
            which = f"'{name}'" if floats.shape[1] == 1 else f"'{name}' {i}"
            raise DataError(
                f"{columns.place}: {columns.noun} {which} is {low:g} throughout; there is nothing "
                "to predict"
            )
    return floats


def _as_numbers(columns: Columns, name: str, values: Values) -> NDArray[np.float64]:
    """Return values as `(N, numbers)`; what is no number becomes NaN, to be refused by name."""
    if values.dtype == object:
        values = np.array([_number(text) for text in values.tolist()], np.float64)
    if values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
        raise DataError(
            f"{columns.place}: {columns.noun} '{name}' is of type {values.dtype} and shape "
            f"{values.shape}; expected a number, or a row of numbers, for each example"
        )
    return values.astype(np.float64).reshape(len(values), -1)


def _number(text: object) -> float:
    try:
        # Python reads 1_05 as 105, which nobody means who writes a table.
        return float("nan") if "_" in str(text) else float(str(text))
    except ValueError:
        return float("nan")
