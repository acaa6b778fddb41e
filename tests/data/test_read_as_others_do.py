"""Random folders and tables: nothing is lost, and what is used is what other readers find."""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, UnidentifiedImageError

from hpsearch.data.sources.files import FileKind, folder_listing
from hpsearch.data.sources.folder import is_picture
from hpsearch.data.sources.rows import read_rows
from hpsearch.errors import DataError
from hpsearch.study.data import Data

KIND = FileKind("image", "IMAGE.jpg", (".png", ".jpg", ".bmp"), is_picture)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

CELLS = st.text(st.sampled_from('ab ",;\n\tü'), max_size=6)


@QUICK
@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=12),
    mark=st.sampled_from(",;\t"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_the_csv_module_writes_is_read_or_refused_as_of_two_readings(
    rows: list[tuple[str, str, str]], mark: str, quoting: Any
) -> None:
    out = io.StringIO()
    csv.writer(out, delimiter=mark, quoting=quoting).writerows([("one", "two", "three"), *rows])
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.csv"
        table.write_text(out.getvalue(), encoding="utf-8", newline="")
        read = read_rows(table, quotes=True)
        assert read.header == ["one", "two", "three"]
        assert read.rows == [list(row) for row in rows]
        try:
            assert read_rows(table).rows == read.rows
        except DataError as error:
            assert "Say data.quotes: true or false" in str(error)


@QUICK
@given(
    rows=st.lists(
        st.tuples(*[st.text(st.sampled_from('ab "'), min_size=1, max_size=6)] * 2), min_size=1
    )
)
def test_plain_lines_give_a_row_each_or_an_error(rows: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.tsv"
        lines = ["one\ttwo", *("\t".join(row) for row in rows)]
        table.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
        assert read_rows(table, quotes=False).rows == [list(row) for row in rows]
        try:
            read = read_rows(table).rows
        except DataError as error:
            assert "line " in str(error)
            return
        assert len(read) == len(rows)


def png(level: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (4, 4), level).save(out, "PNG")
    return out.getvalue()


CONTENTS: dict[str, Callable[[int], bytes]] = {
    "picture": png, "text": lambda i: b"no picture %d" % i, "nothing": lambda i: b"",
}  # fmt: skip
FILES = st.dictionaries(
    st.tuples(
        st.sampled_from(["", "cat", "dog", "cat/more", "owl"]),
        st.integers(0, 255),
        st.sampled_from([".png", ".PNG", ".txt", "", ".heic", ".png_large"]),
    ),
    st.sampled_from(sorted(CONTENTS)),
    min_size=1,
    max_size=25,
)


def is_one(path: Path) -> bool:
    """Whether Pillow opens a file, whatever it is called."""
    try:
        with Image.open(path) as picture:
            return picture.format is not None
    except UnidentifiedImageError:
        return False


@QUICK
@given(files=FILES)
def test_every_file_of_a_folder_is_used_or_left_out_with_its_reason(
    files: dict[tuple[str, int, str], str],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for (folder, number, ending), content in files.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{number}{ending}").write_bytes(CONTENTS[content](number))
        try:
            found = folder_listing(Data(source="folder", root=place, image_size=8), root, KIND)
        except DataError as error:
            assert "class folder" in str(error)
            return
        there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        used = set(found.columns.examples)
        lost = [name for left in found.account.left_out for name in left.names]
        assert used | set(lost) == there and len(used) + len(lost) == len(there)
        assert found.account.found == len(there) and found.account.used == len(used)
        for name, label in zip(found.columns.examples, found.columns.values["label"], strict=True):
            assert label == name.split("/")[0]
        in_classes = {name for name in there if "/" in name and is_one(root / name)}
        assert in_classes <= used
        for path in found.paths:
            if is_one(path):
                with Image.open(path) as picture:
                    level = int(path.name.split(".")[0])
                    assert np.asarray(picture).tolist() == [[level] * 4] * 4
