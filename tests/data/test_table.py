"""Tables of files: a label, several labels or numbers in columns; errors name the row."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import left_out, write_folder, write_table
from PIL import Image

from hpsearch.data.findings import read_audit
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import DataError
from hpsearch.study.data import Data

LEAVES = 40


def grey_level(i: int) -> int:
    return 5 * i + 10


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """Return a folder of 40 images, of which image i has one grey level throughout."""
    (tmp_path / "images").mkdir()
    for i in range(LEAVES):
        Image.new("L", (9, 9), grey_level(i)).save(tmp_path / "images" / f"{i:02}.png")
    return tmp_path


def paths(count: int = LEAVES) -> list[str]:
    return [f"images/{i:02}.png" for i in range(count)]


def prepared_from(table: Path, **options: Any) -> Prepared:
    return prepare(Data(source="table", root=str(table), **{"image_size": 8, **options}))


def problem(table: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared_from(table, **options)
    return str(caught.value).replace(f"{table.parent}/", "")


def everything(prepared: Prepared) -> dict[int, Any]:
    """Return the target of every image of all three splits by its number."""
    data = load_search_data(prepared.folder)
    found = {}
    for part in (data.train, data.test, open_sealed(prepared.folder)):
        for image, target in zip(part.images, part.targets.tolist(), strict=True):
            found[(int(image[0, 0, 0]) - 10) // 5] = target
    return found


def test_a_column_of_names_is_a_class_each(leaves: Path) -> None:
    species = ["oak", "elm"] * (LEAVES // 2)
    table = write_table(leaves / "leaves.csv", path=paths(), label=species)
    prepared = prepared_from(table)
    assert (prepared.task, prepared.outputs) == ("single-label", ("elm", "oak"))
    assert prepared.image_shape == (1, 8, 8)
    assert prepared.totals == (32, 4, 4)
    assert prepared.counts == ((16, 2, 2), (16, 2, 2))
    assert everything(prepared) == {i: int(i % 2 == 0) for i in range(LEAVES)}


def test_columns_may_have_any_name(leaves: Path) -> None:
    classes = [i % 4 for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", file=paths(), kind=classes, note=[""] * LEAVES)
    prepared = prepared_from(table, input="file", target="kind")
    assert everything(prepared) == {i: i % 4 for i in range(LEAVES)}


def test_class_numbers_stand_in_their_order_and_not_as_words(leaves: Path) -> None:
    grades = [(1, 2, 10)[i % 3] for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=grades)
    assert prepared_from(table).outputs == ("1", "2", "10")


def test_na_and_none_are_names_like_others(leaves: Path) -> None:
    names = ["NA", "None"] * (LEAVES // 2)
    table = write_table(leaves / "leaves.csv", path=paths(), label=names)
    assert prepared_from(table).outputs == ("NA", "None")


def test_columns_of_0_and_1_are_labels(leaves: Path) -> None:
    ill, old = [i % 2 for i in range(LEAVES)], [i % 5 == 0 for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), ill=ill, old=old)
    prepared = prepared_from(table, task="multi-label", target=["ill", "old"])
    assert (prepared.task, prepared.outputs) == ("multi-label", ("ill", "old"))
    assert [sum(row) for row in prepared.counts] == [20, 8]
    assert all(min(row) >= 1 for row in prepared.counts)
    assert everything(prepared) == {i: [i % 2, i % 5 == 0] for i in range(LEAVES)}
    assert load_search_data(prepared.folder).train.targets.dtype == np.float32


def test_labels_may_stand_in_one_column_with_something_between_them(leaves: Path) -> None:
    tags = [" ; ".join(["red"] * (i % 2) + ["old"] * (i % 5 == 0)) for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=tags)
    prepared = prepared_from(table, task="multi-label", separator=";")
    assert prepared.outputs == ("old", "red")
    assert everything(prepared) == {i: [i % 5 == 0, i % 2] for i in range(LEAVES)}


def test_columns_of_numbers_are_numbers_in_their_own_units(leaves: Path) -> None:
    width, weight = [i / 8 for i in range(LEAVES)], [1e4 - i for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), width=width, weight=weight)
    prepared = prepared_from(table, task="regression", target=["width", "weight"])
    assert (prepared.task, prepared.outputs) == ("regression", ("width", "weight"))
    assert prepared.counts == (prepared.totals,) * 2
    assert everything(prepared) == {i: [i / 8, 1e4 - i] for i in range(LEAVES)}
    data = load_search_data(prepared.folder)
    assert data.target_mean == pytest.approx(data.train.targets.astype(np.float64).mean(0))
    assert data.target_std == pytest.approx(data.train.targets.astype(np.float64).std(0))
    assert (prepared.target_mean, prepared.target_std) == (data.target_mean, data.target_std)


def test_groups_of_a_column_never_straddle_splits(leaves: Path) -> None:
    trees = [f"tree {i // 4}" for i in range(LEAVES)]
    kinds = [i // 4 % 2 for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=kinds, tree=trees)
    prepared = prepared_from(table, groups="tree")
    assert sum(len(names) for names in prepared.groups) == len(set().union(*prepared.groups)) == 10
    data = load_search_data(prepared.folder)
    for part, names in zip((data.train, data.test), prepared.groups, strict=False):
        numbers = (part.images[:, 0, 0, 0].astype(int) - 10) // 5
        assert {trees[number] for number in numbers} == set(names)


def test_a_pattern_adds_columns_from_the_names_of_files(leaves: Path) -> None:
    table = write_table(leaves / "leaves.csv", path=paths(), label=["a", "b"] * (LEAVES // 2))
    prepared = prepared_from(table, pattern=r"(?P<ten>\d)\d\.png", groups="ten")
    assert set().union(*prepared.groups) == {"0", "1", "2", "3"}


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_table_is_read_as_spreadsheets_write_it(leaves: Path, mark: str, packed: bool) -> None:
    lines = [mark.join(("path", "label"))]
    lines += [
        mark.join((name, f'"{"übel" if i % 2 else "gut"}"')) for i, name in enumerate(paths())
    ]
    raw = "\r\n".join(lines).encode("utf-8-sig")
    table = leaves / ("leaves.csv.gz" if packed else "leaves.csv")
    table.write_bytes(gzip.compress(raw) if packed else raw)
    assert prepared_from(table).outputs == ("gut", "übel")


def test_absolute_paths_are_taken_as_they_are(leaves: Path, tmp_path: Path) -> None:
    absolute = [str(leaves / name) for name in paths()]
    elsewhere = tmp_path / "elsewhere" / "leaves.csv"
    table = write_table(elsewhere, path=absolute, label=["a", "b"] * (LEAVES // 2))
    assert prepared_from(table).totals == (32, 4, 4)


def test_a_table_and_a_folder_of_the_same_images_are_the_same_data(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "pets", {"cat": 6, "dog": 6})
    files = sorted(path.relative_to(tmp_path) for path in root.rglob("*.png"))
    table = write_table(tmp_path / "pets.csv", path=files, label=[f.parts[1] for f in files])
    folder = prepare(Data(source="folder", root=str(root), image_size=8))
    assert prepared_from(table).fingerprint == folder.fingerprint


Change = Callable[[dict[str, list[Any]]], Any]
WRONG: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no column of paths": (
        lambda c: c.update(paths=c.pop("path")),
        {},
        "leaves.csv: data.input: there is no column 'path'; did you mean 'paths'?",
    ),
    "no column of labels": (
        lambda c: c.pop("label"),
        {},
        "leaves.csv: data.target: there is no column 'label'; it has 'path', 'size'",
    ),
    "no column of groups": (
        lambda c: None,
        {"groups": "tree"},
        "leaves.csv: data.groups: there is no column 'tree'; it has 'path', 'label', 'size'",
    ),
    "a label is empty": (
        lambda c: c["label"].__setitem__(slice(2, 5), ["", " ", ""]),
        {},
        "leaves.csv: column 'label' is empty (row 3, and 2 more like it); name the class",
    ),
    "a path is empty": (
        lambda c: c["path"].__setitem__(7, ""),
        {},
        "leaves.csv: column 'path' is empty (row 8); name a file",
    ),
    "a group is empty": (
        lambda c: c["size"].__setitem__(0, ""),
        {"groups": "size"},
        "leaves.csv: column 'size' is empty (row 1); name the group of every example",
    ),
    "a file is not there": (
        lambda c: c["path"].__setitem__(3, "images/lost.png"),
        {},
        "leaves.csv: 1 of 40 file(s) in column 'path' are not there, such as images/lost.png "
        "(row 4); relative paths begin at ",
    ),
    "a number is text": (
        lambda c: c["size"].__setitem__(1, "large"),
        {"task": "regression", "target": "size"},
        "leaves.csv: column 'size' holds a value that is no finite number (row 2); write one as",
    ),
    "a number is missing": (
        lambda c: c["size"].__setitem__(1, ""),
        {"task": "regression", "target": "size"},
        "leaves.csv: column 'size' holds a value that is no finite number (row 2)",
    ),
    "a number is NaN": (
        lambda c: c["size"].__setitem__(slice(1, 3), ["nan", "-inf"]),
        {"task": "regression", "target": "size"},
        "leaves.csv: column 'size' holds a value that is no finite number (row 2, and 1 more",
    ),
    "a number has a comma": (
        lambda c: c["size"].__setitem__(1, "0,5"),
        {"task": "regression", "target": "size"},
        "leaves.csv: column 'size' holds a value that is no finite number (row 2); write one",
    ),
    "numbers are all alike": (
        lambda c: c.update(size=[2.5] * LEAVES),
        {"task": "regression", "target": "size"},
        "leaves.csv: column 'size' is 2.5 throughout; there is nothing to predict",
    ),
    "numbers are called classes": (
        lambda c: None,
        {"target": "size"},
        "leaves.csv: column 'size' has 40 different values in 40 examples, and a class needs three",
    ),
    "a label is neither 0 nor 1": (
        lambda c: c["label"].__setitem__(5, 2),
        {"task": "multi-label"},
        "leaves.csv: column 'label' holds a value that is neither 0 nor 1 (row 6); write 0 or 1",
    ),
    "a label is empty among 0 and 1": (
        lambda c: c["label"].__setitem__(5, ""),
        {"task": "multi-label"},
        "leaves.csv: column 'label' holds a value that is neither 0 nor 1 (row 6)",
    ),
    "no row has a label": (
        lambda c: c.update(label=[""] * LEAVES),
        {"task": "multi-label", "separator": ";"},
        "leaves.csv: column 'label' is empty throughout",
    ),
    "the pattern matches no file": (
        lambda c: None,
        {"pattern": r"(?P<tree>\d+)\.jpg", "groups": "tree"},
        r"leaves.csv: 40 of 40 file(s) do not match data.pattern '(?P<tree>\\d+)\\.jpg', such as "
        "images/00.png; mend the pattern",
    ),
    "the pattern names a column that is there": (
        lambda c: None,
        {"pattern": r"(?P<size>\d+)\.png"},
        "leaves.csv: data.pattern: there is a column 'size' already",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_a_table_is_said_with_its_row(leaves: Path, wrong: str) -> None:
    change, options, says = WRONG[wrong]
    columns: dict[str, list[Any]] = {
        "path": paths(),
        "label": [i % 2 for i in range(LEAVES)],
        "size": [0.5 + i for i in range(LEAVES)],
    }
    change(columns)
    assert problem(write_table(leaves / "leaves.csv", **columns), **options).startswith(says)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "does not exist; name a CSV file with a header"),
        (b"", "is not a table: No columns to parse from file"),
        (b"path,label\n", "holds no rows below its header path, label"),
        (b"path,label\na,b\na,b,c\n", "is not a table: "),
        (b"path,label\na,b,c\na,b,c\n", "is not a table: "),
        (b"path,label\n\xff\xfe,b\n", "is not UTF-8"),
        (b'path,label\n"a,b\n', "is not a table: "),
    ],
    ids=["missing", "empty", "header", "long row", "long rows", "latin", "quote"],
)
def test_a_file_that_is_no_table_is_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    table = tmp_path / "leaves.csv"
    if content is not None:
        table.write_bytes(content)
    found = problem(table)
    assert "leaves.csv" in found and says in found


def test_a_folder_or_half_an_archive_in_place_of_a_table_is_named(tmp_path: Path) -> None:
    assert "is a folder; name a CSV file" in problem(tmp_path)
    half = tmp_path / "half.csv.gz"
    half.write_bytes(gzip.compress(b"path,label\n" * 10_000)[:-9])
    assert "half.csv.gz: is not a table: " in problem(half)


def test_missing_and_broken_files_can_be_skipped_and_are_named(leaves: Path) -> None:
    (leaves / "images" / "06.png").unlink()
    (leaves / "images" / "07.png").write_bytes(b"no picture")
    kinds = ["a", "b"] * (LEAVES // 2)
    table = write_table(leaves / "leaves.csv", path=paths(), label=kinds, tree=kinds)
    prepared = prepared_from(table, on_broken="skip")
    assert sum(prepared.totals) == LEAVES - 2
    assert [Path(line.split(": ")[0]).name for line in left_out(prepared)] == ["06.png", "07.png"]
    whole = {i: i % 2 for i in range(LEAVES) if i not in (6, 7)}
    assert everything(prepared) == whole


def test_what_the_table_says_and_what_the_files_hold_both_count(leaves: Path) -> None:
    kinds = ["a", "b"] * (LEAVES // 2)
    table = write_table(leaves / "leaves.csv", path=paths(), label=kinds)
    first = prepared_from(table)
    write_table(table, path=paths(), label=["a", "a", "b", "b"] * (LEAVES // 4))
    relabelled = prepared_from(table)
    Image.new("L", (9, 9), 3).save(leaves / "images" / "05.png")
    repainted = prepared_from(table)
    assert len({p.fingerprint for p in (first, relabelled, repainted)}) == 3


def test_the_same_numbers_as_labels_are_other_data_than_as_measurements(leaves: Path) -> None:
    flags = [i % 2 for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=flags)
    labels, numbers = (prepared_from(table, task=task) for task in ("multi-label", "regression"))
    assert labels.fingerprint != numbers.fingerprint


def test_a_number_has_no_underscores(leaves: Path) -> None:
    sizes = ["1_05", *(str(i) for i in range(1, LEAVES))]
    table = write_table(leaves / "leaves.csv", path=paths(), size=sizes)
    says = problem(table, task="regression", target="size")
    assert "column 'size' holds a value that is no finite number (row 1)" in says


def test_classes_whose_names_are_nearly_equal_are_a_finding(leaves: Path) -> None:
    names = [("Cat", "cat ", "1", "1.0")[i % 4] for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=names)
    findings = read_audit(prepared_from(table).folder).findings
    (found,) = (finding for finding in findings if finding.kind == "names-nearly-equal")
    assert found.says == "some classes have nearly the same name: '1' and '1.0', 'Cat' and 'cat'"
    assert found.images == LEAVES


def test_a_class_that_is_called_as_a_missing_label_is_a_finding(leaves: Path) -> None:
    names = [("oak", "NaN", "none")[i % 3] for i in range(LEAVES)]
    table = write_table(leaves / "leaves.csv", path=paths(), label=names)
    findings = read_audit(prepared_from(table).folder).findings
    (found,) = (finding for finding in findings if finding.kind == "names-of-missing-labels")
    assert found.says.startswith("classes are called 'NaN', as programs write a label that is")
    assert found.images == names.count("NaN")


def test_files_that_are_not_there_and_files_that_are_broken_are_two_reasons(leaves: Path) -> None:
    (leaves / "images" / "05.png").unlink()
    (leaves / "images" / "06.png").write_bytes(b"no picture")
    table = write_table(leaves / "leaves.csv", path=paths(), label=["a", "b"] * (LEAVES // 2))
    left_out = prepared_from(table, on_broken="skip").account.left_out
    assert [(left.reason, left.count) for left in left_out] == [
        ("not there", 1),
        ("cannot be decoded", 1),
    ]
    assert "05.png" in left_out[0].names[0] and "06.png" in left_out[1].names[0]
