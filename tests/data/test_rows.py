"""Rows of tables: every one, however quote marks are meant, or an error that shows the line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from hpsearch.data.prepare import prepare
from hpsearch.data.sources.rows import read_rows
from hpsearch.errors import DataError
from hpsearch.study.data import Data


def written(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def problem(path: Path, quotes: bool | None = None) -> str:
    with pytest.raises(DataError) as caught:
        read_rows(path, quotes=quotes)
    return str(caught.value).removeprefix(f"{path}: is not a table: ")


def reviews(path: Path, opened: tuple[int, ...]) -> tuple[Path, list[list[str]]]:
    """Write 200 texts of two classes, of which some begin with a quote mark that never closes."""
    rows = [
        [f'{chr(34) if i in opened else ""}it was {i} times "so" good', ("pos", "neg")[i % 2]]
        for i in range(200)
    ]
    return written(path, "text\tlabel", *("\t".join(row) for row in rows)), rows


def test_texts_that_begin_with_a_quote_mark_swallow_no_rows(tmp_path: Path) -> None:
    table, rows = reviews(tmp_path / "reviews.tsv", (3, 17, 40, 41, 90, 199))
    read = read_rows(table)
    assert read.header == ["text", "label"] and read.rows == rows
    assert read.decided == (
        "quote marks are characters of the texts: 6 of 200 rows have a field that begins with one "
        "and does not end so, the first in line 5",
    )
    prepared = prepare(Data(source="text", root=str(table)))
    assert (prepared.account.found, prepared.account.used) == (200, 200)
    assert prepared.account.decided == read.decided
    assert sum(prepared.totals) == 200


def test_a_quoted_text_over_several_lines_is_one_row(tmp_path: Path) -> None:
    rows = [[f"first line {i},\nsecond, longer line", "ab"[i % 2]] for i in range(40)]
    out = io.StringIO()
    csv.writer(out).writerows([["text", "label"], *rows])
    table = tmp_path / "reviews.csv"
    table.write_text(out.getvalue(), encoding="utf-8", newline="")
    assert read_rows(table).rows == rows
    assert read_rows(table).decided == ()


def test_where_both_readings_give_whole_rows_the_study_has_to_say(tmp_path: Path) -> None:
    lines = [f"{('pos', 'neg')[i % 2]}\tplain text {i}" for i in range(10)]
    lines[4], lines[7] = 'pos\t"I do not know,', 'neg\the said."'
    table = written(tmp_path / "said.tsv", "label\ttext", *lines)
    assert problem(table) == (
        "line 6: a field begins with a quote mark; read as quotes, it runs over several lines, and "
        "there are 7 rows; read as characters there are 10 rows. Say data.quotes: true or false, "
        "or mend the line: two quote marks stand for one within a quoted field"
    )
    assert len(read_rows(table, quotes=True).rows) == 7
    assert [row[1] for row in read_rows(table, quotes=False).rows[4:8:3]] == [
        '"I do not know,',
        'he said."',
    ]


def test_a_lone_quote_mark_among_quoted_fields_is_named_with_its_line(tmp_path: Path) -> None:
    lines = [f'"text {i}",a' for i in range(10)]
    lines[6] = '"lone text,b'
    table = written(tmp_path / "t.csv", "text,label", *lines)
    assert problem(table).startswith("line 8: a field begins with a quote mark; read as quotes, a ")
    assert len(read_rows(table, quotes=False).rows) == 10
    assert problem(table, quotes=True).startswith("line 8: a quote mark that closes a field is")


def test_a_row_that_is_too_short_is_named_and_not_filled_up(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "text,label", "a,b", "c")
    assert problem(table) == "line 3: has 1 field(s), and 2 are expected"


def test_empty_lines_are_no_rows_and_names_in_a_header_are_told_apart(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", ",a,a", "1,2,3", "", "4,5,6", "")
    read = read_rows(table)
    assert read.header == ["Unnamed: 0", "a", "a.1"]
    assert read.rows == [["1", "2", "3"], ["4", "5", "6"]]


def test_a_table_without_a_header_gets_its_names_from_the_study(tmp_path: Path) -> None:
    lines = [f'"{i % 4 + 1}","A title; {i}","A text, of {i}"' for i in range(40)]
    table = written(tmp_path / "train.csv", *lines)
    read = read_rows(table, ("class", "title", "text"))
    assert len(read.rows) == 40 and read.rows[2] == ["3", "A title; 2", "A text, of 2"]
    with_header = written(tmp_path / "headed.csv", "class,title,text", *lines)
    assert read_rows(with_header, ("class", "title", "text")).rows == read.rows


def test_a_text_longer_than_pythons_own_limit_is_read(tmp_path: Path) -> None:
    table = written(tmp_path / "t.csv", "text,label", f"{'a' * 200_000},x")
    assert len(read_rows(table).rows[0][0]) == 200_000
