"""Tables of every form in which data sets are published: files, folders of parts, shards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpsearch.data.sources import coco, parquet, shards
from hpsearch.data.sources.columns import Columns, read_table
from hpsearch.data.sources.json_lines import json_lines
from hpsearch.data.sources.memory import PARQUET_TIMES, TAR_TIMES, memory_words
from hpsearch.data.sources.published import COLUMN, role_of
from hpsearch.errors import DataError
from hpsearch.study.data import Data

INSIDE = (
    "metadata.csv",
    "metadata.jsonl",
    "_classes.csv",
)  # tables that lie among the files they name
# What the column of files or of labels is called where it is neither `path` nor `label`.
INPUTS = ("file_name", "filename", "image", "image_path", "filepath", "file", "image_id", "img")
TARGETS = ("labels", "class", "category", "class_name", "target")
SET = frozenset({"1", "1.0", "true"})
# What holds pictures itself, what reads it, and how many times its size that takes.
PACKED = {
    ".parquet": (parquet.columns_of, PARQUET_TIMES),
    ".tar": (shards.columns_of, TAR_TIMES),
}
UNPACK = "take a part of it, or unpack pictures into class folders (source: folder)"
FLAGS = SET | {"0", "-1", "0.0", "false"}
# CelebA: the part of each picture, and which number is which.
PARTITIONS, PARTS = (
    ("list_eval_partition.txt", "list_eval_partition.csv"),
    ("train", "valid", "test"),
)


@dataclass(frozen=True)
class Tables:
    """Columns, the folder that relative paths begin at, and the files that all of it was read from.

    Values of the input may be the bytes of files instead of their names.
    """

    columns: Columns
    base: Path
    files: tuple[Path, ...]


def read_tables(root: Path, data: Data) -> Tables:
    """Return what a table says, whatever its form; DataError where it is none that is known."""
    read = _read(root, data)
    return replace(read, columns=_with_class(read.columns, data))


def _read(root: Path, data: Data) -> Tables:
    if root.is_dir():
        return _of_folder(root, data)
    if root.is_file() and root.suffix in PACKED:
        return _packed([root], root.parent)
    if root.suffix == ".jsonl":
        return Tables(json_lines(root), root.parent, (root,))
    if root.suffix == ".json":
        return Tables(coco.columns_of(root, ""), root.parent, (root,))
    if root.suffix == ".txt" and root.is_file() and _is_attribute_list(root):
        columns = _attribute_list(root)
    else:
        columns = read_table(root, data)
    return _with_partition(columns, root, data)


def _of_folder(root: Path, data: Data) -> Tables:
    for ending in PACKED:
        files = sorted(p for p in root.rglob(f"*{ending}") if not p.name.startswith("."))
        if files:
            return _packed(files, root)
    found = coco.annotation_files(root)
    if found:
        read_all = [(coco.columns_of(path, above), path, part) for path, above, part in found]
        return _joined(root, read_all)
    tables = [
        p for name in INSIDE for place in (root, *_folders(root)) if (p := place / name).is_file()
    ]
    if not tables:
        raise DataError(f"data.root: {root} is a folder; name a CSV file with a header")
    read_all = []
    for table in tables:
        is_lines, above = table.suffix == ".jsonl", table.parent.relative_to(root).as_posix()
        columns = json_lines(table) if is_lines else read_table(table, data)
        known = filled(columns, data)
        names = columns.of(known.input_name(), "input")
        moved = np.array([name if above == "." else f"{above}/{name}" for name in names], object)
        columns = replace(columns, values=columns.values | {known.input_name(): moved})
        read_all.append((columns, table, "" if above == "." else above))
    return _joined(root, read_all)


def _packed(files: Sequence[Path], base: Path) -> Tables:
    """Return what Parquet files or tar files hold, which are read whole."""
    read, times = PACKED[files[0].suffix]
    said = memory_words(files, times, UNPACK)
    columns = read(files)
    return Tables(replace(columns, decided=(*columns.decided, *said)), base, tuple(files))


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _joined(root: Path, tables: Sequence[tuple[Columns, Path, str]]) -> Tables:
    """Return several tables as one, with the part that each of them is."""
    first = tables[0][0]
    names = [name for name in first.values if all(name in c.values for c, _, _ in tables)]
    for columns, path, _ in tables:
        other = sorted(set(columns.values) ^ set(names))
        if other:
            raise DataError(
                f"{path}: column '{other[0]}' is not in all of the {len(tables)} tables of {root}"
            )
    values = {name: np.concatenate([c.values[name] for c, _, _ in tables]) for name in names}
    if any(part and role_of(part) for _, _, part in tables) and COLUMN not in values:
        parts = [part or "train" for columns, _, part in tables for _ in range(len(columns))]
        values[COLUMN] = np.array(parts, object)
    examples = [
        f"{path.relative_to(root)} {example}" for c, path, _ in tables for example in c.examples
    ]
    decided = tuple(dict.fromkeys(sentence for c, _, _ in tables for sentence in c.decided))
    every = Columns(str(root), "column", examples, values, decided)
    return Tables(every, root, tuple(path for _, path, _ in tables))


def filled(columns: Columns, data: Data) -> Data:
    """Return what is asked for, with usual names of columns where it names none that is there."""
    wished: dict[str, object] = {}
    if data.input is None and data.input_name() not in columns.values:
        usual = [name for name in INPUTS if name in columns.values]
        if usual:
            wished["input"] = usual[0]
    if data.target is None and "label" not in columns.values:
        usual = [name for name in TARGETS if name in columns.values]
        flags = _flags(columns, data)
        if data.task == "multi-label" and data.separator is None and flags:
            wished["target"] = tuple(flags)
        elif data.task == "single-label" and len(usual) == 1:
            wished["target"] = (usual[0],)
    return data.model_copy(update=wished) if wished else data


def _with_class(columns: Columns, data: Data) -> Columns:
    """Return columns with `label`, where a column for each class says it and nothing else does.

    As Roboflow and ISIC write classes: exactly one of the columns of 0 and 1 is 1 in every row.
    """
    wanted = data.task == "single-label" and data.target is None
    if not wanted or columns.values.keys() & {"label", *TARGETS}:
        return columns
    flags = _flags(columns, data)
    if len(flags) < 2:
        return columns
    is_set = np.array([[str(v).strip().lower() in SET for v in columns.values[n]] for n in flags])
    if not (is_set.sum(axis=0) == 1).all():
        return columns
    names = np.array(flags, object)[is_set.argmax(axis=0)]
    shown = ", ".join(flags[:3]) + (f" and {len(flags) - 3} more" if len(flags) > 3 else "")
    says = f"classes: {shown} are columns of 0 and 1, and exactly one is 1 in each of the rows"
    decided = (*columns.decided, says)
    return replace(columns, values=columns.values | {"label": names}, decided=decided)


def _flags(columns: Columns, data: Data) -> list[str]:
    """Return the columns of 0 and 1 that the study names for nothing else."""
    known = {data.input_name(), data.groups, data.split.column, COLUMN, *INPUTS}
    return [n for n in columns.values if n not in known and _are_flags(columns, n)]


def fill_words(before: Data, after: Data) -> tuple[str, ...]:
    """Return in words which columns were taken because of their names."""
    said = []
    if before.input != after.input:
        said.append(
            f"input: column '{after.input_name()}', for there is no '{before.input_name()}'"
        )
    if before.target != after.target:
        names = ", ".join(after.target_names()[:5])
        more = len(after.target_names()) - 5
        said.append(f"target: {names}{f' and {more} more' if more > 0 else ''}, as none was named")
    return tuple(said)


def _are_flags(columns: Columns, name: str) -> bool:
    values = columns.values[name]
    if values.ndim != 1:
        return False
    return all(str(value).strip().lower() in FLAGS for value in values.tolist())


def _is_attribute_list(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().strip().isdigit()


def _attribute_list(path: Path) -> Columns:
    """Return CelebA's attributes: a count, the names, then a file and 1 or -1 for each of them."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names, rows = lines[1].split(), [line.split() for line in lines[2:] if line.strip()]
    wrong = next((i for i, row in enumerate(rows) if len(row) != len(names) + 1), None)
    if wrong is not None or int(lines[0]) != len(rows):
        line = 1 if wrong is None else wrong + 3
        raise DataError(f"{path}: is not a list of attributes: line {line}")
    every = np.array(rows, object)
    values = {"path": every[:, 0]} | {name: every[:, i + 1] for i, name in enumerate(names)}
    return Columns(str(path), "column", [row[0] for row in rows], values)


def _with_partition(columns: Columns, root: Path, data: Data) -> Tables:
    """Return a table with CelebA's parts, where their list lies beside it."""
    name = next((name for name in (data.input_name(), "image_id") if name in columns.values), None)
    beside = next((p for n in PARTITIONS if (p := root.parent / n).is_file()), None)
    if beside is None or name is None or COLUMN in columns.values or beside == root:
        return Tables(columns, root.parent, (root,))
    lines = beside.read_text(encoding="utf-8").replace(",", " ").splitlines()
    pairs = [line.split() for line in lines if line.strip()]
    part_of = {pair[0]: PARTS[int(pair[1])] for pair in pairs if pair[1:2] in (["0"], ["1"], ["2"])}
    parts = np.array([part_of.get(str(file), "") for file in columns.values[name]], object)
    nowhere = np.flatnonzero(parts == "")
    if len(nowhere) == len(parts) or data.split.parts == "pooled":  # of other pictures, or unasked
        return Tables(columns, root.parent, (root,))
    if len(nowhere):
        raise DataError(
            f"{beside}: names no part of {len(nowhere):,} of the {len(parts):,} pictures in "
            f"{root.name}, such as {columns.values[name][nowhere[0]]}; mend it, or say "
            "data.split: {parts: pooled} to split all of them by shares"
        )
    return Tables(
        replace(columns, values=columns.values | {COLUMN: parts}), root.parent, (root, beside)
    )
