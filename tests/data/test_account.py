"""The account of what a source holds: found = used + left out, in words, and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_data import write_folder

from hpsearch.data.account import Account, LeftOut, account_from, account_json, write_names
from hpsearch.data.prepare import prepare
from hpsearch.study.data import Data

ODD = Account(
    60,
    40,
    (LeftOut("without ending", tuple("abcde")), LeftOut("no picture", ("x.heic",), more=14)),
    ("grey: every picture is",),
    "files",
)


def test_nothing_is_lost_between_found_used_and_left_out() -> None:
    with pytest.raises(AssertionError, match="40 used \\+ 1 left out != 60"):
        Account(60, 40, (LeftOut("without ending", ("a",)),))


def test_what_is_left_out_is_told_by_reason_with_its_first_names() -> None:
    assert ODD.lines() == [
        "Read: 40 of 60 files; 20 left out:",
        "  5 without ending: a, b, c and 2 more",
        "  15 no picture: x.heic and 14 more",
        "Decided: grey: every picture is",
    ]


def test_an_account_without_oddities_is_one_line() -> None:
    assert Account(1200, 1200, things="rows").lines() == ["Read: all 1,200 rows"]


def test_what_is_left_out_later_is_counted_too() -> None:
    later = ODD.without("cannot be decoded", ("7.png: truncated",)).deciding("size 16")
    assert (later.found, later.used) == (60, 39)
    assert later.left_out[2] == LeftOut("cannot be decoded", ("7.png: truncated",))
    assert later.decided == ("grey: every picture is", "size 16")
    assert ODD.without("cannot be decoded", ()) == ODD


def test_the_storage_keeps_the_first_names_and_every_number() -> None:
    kept = json.loads(json.dumps(account_json(ODD.shortened())))
    again = account_from(kept)
    assert again.left_out == (
        LeftOut("without ending", ("a", "b", "c"), 2),
        LeftOut("no picture", ("x.heic",), 14),
    )
    assert again.lines() == ODD.lines()


def test_every_name_stands_in_a_file(tmp_path: Path) -> None:
    write_names(tmp_path, ODD)
    assert (tmp_path / "left-out.txt").read_text().splitlines() == [
        "5 without ending:",
        *(f"  {name}" for name in "abcde"),
        "15 no picture:",
        "  x.heic",
    ]
    write_names(tmp_path / "nowhere", Account(1, 1))  # no file, no folder needed


def test_prepared_data_keeps_the_account_and_the_names(tmp_path: Path) -> None:
    pets = write_folder(tmp_path / "pets", {"cat": 12, "dog": 10})
    for name in ("000.png", "003.png", "005.png", "007.png"):
        (pets / "cat" / name).write_bytes(b"this is no picture")
    data = Data(source="folder", root=str(pets), image_size=16, on_broken="skip")
    prepared = prepare(data)
    assert (prepared.account.found, prepared.account.used) == (22, 18)
    assert prepare(data).account == prepared.account  # read back
    named = (prepared.folder / "left-out.txt").read_text().splitlines()
    assert named[0] == "4 cannot be decoded:" and len(named) == 5
    assert named[1].startswith(f"  {pets / 'cat' / '000.png'}: cannot identify image file")
