"""Names that others chose, shown so that neither a terminal nor Markdown obeys them."""

from __future__ import annotations

import pytest

from hpsearch.study.names import (
    in_markdown,
    in_markdown_cell,
    in_spreadsheet,
    plain,
    with_short_words,
)


@pytest.mark.parametrize("name", ["cat", "Äpfel 3", "猫", "a_b-c.d", "👩\u200d🚀", "50 % <b>"])
def test_a_name_that_can_be_seen_is_shown_as_it_is(name: str) -> None:
    assert plain(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("a\nb\rc\td", "a\\nb\\rc\\td"),
        ("a\u202eb", "a\\u202eb"),
        ("a\udcffb", "a\\udcffb"),
        ("a\x9bb\x00", "a\\x9bb\\x00"),
        ("a\u2028b", "a\\u2028b"),
    ],
)
def test_what_cannot_be_seen_is_written_out(name: str, shown: str) -> None:
    assert plain(name) == shown
    assert plain(f"{name}\nmore", lines=True).splitlines()[-1] == "more"
    shown.encode()


def test_markdown_gets_no_html_no_links_and_no_second_line() -> None:
    name = "<script>alert(1)</script> & [x](http://y) ![p][q]\n# title"
    shown = in_markdown(name)
    assert "<" not in shown and "\n" not in shown
    assert shown.startswith("&lt;script&gt;") and "&amp;" in shown
    assert "](" not in shown.replace("\\]", "") and "][" not in shown.replace("\\]", "")


@pytest.mark.parametrize("name", ["a|b", "a\\|b", "a\\\\|b", "\\", "a|", "`a|b`"])
def test_a_cell_of_a_table_cannot_be_ended_by_a_name(name: str) -> None:
    cell = in_markdown_cell(name)
    escaped = False
    for sign in cell:
        assert escaped or sign != "|"
        escaped = sign == "\\" and not escaped
    assert not escaped


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\n@a", "\uff1d1"]
)
def test_a_spreadsheet_takes_no_text_for_a_formula(text: str) -> None:
    shown = in_spreadsheet(text)
    assert shown[0] not in "=+-@\t\r\n\uff1d" and "\n" not in shown
    assert shown in (f"'{text}", plain(text)), "and nothing else is changed"


@pytest.mark.parametrize("text", ["", "a=b", "no score - yet", "3-4", "relu"])
def test_other_text_of_a_table_stays_as_it_is(text: str) -> None:
    assert in_spreadsheet(text) == text


def test_an_error_names_what_is_too_long_by_its_beginning_and_end() -> None:
    said = with_short_words(f"hpsearch: sqlite:///{'a' * 5000}/x.db: cannot be written")
    assert said.startswith("hpsearch: sqlite:///aaa")
    assert said.endswith("aaa/x.db: cannot be written")
    assert len(said) < 400
    path = f"/{'folder/' * 40}x.db: cannot be written"
    assert with_short_words(path) == path, "as long as paths may be"
