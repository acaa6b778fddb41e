"""Text: characters are channels; kept as one byte each, and channels on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_data import left_out, write_table

from hpsearch.data.batches import resident
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sources.text import symbols_of
from hpsearch.errors import DataError
from hpsearch.study.data import ALPHABET, Data, Text

CPU = torch.device("cpu")
WORDS = {"fruit": ["apple", "pear", "plum!", "Fig, ripe", "lime"], "tool": ["saw", "axe", "file 7"]}


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    """Return a table of 60 texts of two classes, by 12 authors."""
    rng = np.random.default_rng(0)
    labels = ["fruit", "tool"] * 30
    texts = [f"{rng.choice(WORDS[label])} number {i}" for i, label in enumerate(labels)]
    authors = [f"author {i // 5}" for i in range(60)]
    return write_table(tmp_path / "reviews.csv", text=texts, label=labels, author=authors)


def prepared_from(table: Path, **options: Any) -> Prepared:
    return prepare(Data(source="text", root=str(table), **{"duplicates": "allow", **options}))


def problem(table: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared_from(table, **options)
    return str(caught.value).replace(f"{table.parent}/", "")


def test_a_symbol_is_the_place_of_a_character_in_the_alphabet() -> None:
    symbols = symbols_of(["cab", "a-b", ""], Text(length=8, alphabet="abc"))
    assert symbols.shape == (3, 1, 8, 1)
    assert symbols.dtype == np.uint8
    assert symbols[:, 0, :, 0].tolist() == [
        [3, 1, 2, 0, 0, 0, 0, 0],
        [1, 0, 2, 0, 0, 0, 0, 0],
        [0] * 8,
    ]


def test_the_beginning_of_a_long_text_is_kept() -> None:
    symbols = symbols_of(["abcabcabcabc"], Text(length=8, alphabet="abc"))
    assert symbols.ravel().tolist() == [1, 2, 3, 1, 2, 3, 1, 2]


def test_capitals_are_read_as_small_letters_unless_the_alphabet_has_some() -> None:
    small = symbols_of(["aA"], Text(length=8, alphabet="ab"))
    both = symbols_of(["aA"], Text(length=8, alphabet="abA"))
    assert small.ravel().tolist()[:2] == [1, 1]
    assert both.ravel().tolist()[:2] == [1, 3]


@pytest.mark.parametrize("alphabet", ["äöüß", "абв", "日本語文字", "😀👍"])
def test_an_alphabet_may_hold_any_characters(alphabet: str) -> None:
    symbols = symbols_of([alphabet + "x" + alphabet], Text(length=20, alphabet=alphabet))
    count = len(alphabet)
    expected = [*range(1, count + 1), 0, *range(1, count + 1)]
    assert symbols.ravel().tolist() == expected + [0] * (20 - len(expected))


def test_half_a_character_is_no_symbol_and_no_crash() -> None:
    assert symbols_of(["a\ud800b"], Text(length=8, alphabet="ab")).ravel().tolist()[:3] == [1, 0, 2]


def test_a_text_is_an_image_of_height_1_with_a_channel_for_each_character(reviews: Path) -> None:
    prepared = prepared_from(reviews, text={"length": 20})
    assert prepared.image_shape == (len(ALPHABET), 1, 20)
    assert prepared.outputs == ("fruit", "tool")
    assert prepared.totals == (48, 6, 6)
    data = load_search_data(prepared.folder)
    assert data.image_shape == prepared.image_shape
    assert data.train.images.shape == (48, 1, 20, 1)


@pytest.mark.parametrize("shift", [0, 2])
def test_batches_hold_one_channel_for_each_character_of_the_alphabet(
    reviews: Path, shift: int
) -> None:
    data = load_search_data(prepared_from(reviews, text={"length": 20}).folder)
    train = resident(data.train, data, CPU)
    ((images, _),) = train.ordered_batches(100)
    assert images.shape == (48, 68, 1, 20)
    assert images.is_contiguous(memory_format=torch.channels_last)
    size = 68**0.5
    one_hot = torch.zeros(48, 69, 1, 20)
    one_hot.scatter_(1, torch.from_numpy(data.train.images.copy()).long().permute(0, 3, 1, 2), size)
    torch.testing.assert_close(images, one_hot[:, 1:])
    for batch, _ in train.training_batches(16, shift, False, seed=0):
        assert batch.shape == (16, 68, 1, 20)
        present = batch.count_nonzero(dim=1)
        assert ((present == 1) | (present == 0)).all()


def test_a_rare_character_is_no_larger_than_a_frequent_one(reviews: Path) -> None:
    data = load_search_data(prepared_from(reviews, text={"length": 20}).folder)
    ((images, _),) = resident(data.train, data, CPU).ordered_batches(100)
    assert images.unique().tolist() == pytest.approx([0, 68**0.5])
    written = images.count_nonzero(dim=1) > 0
    assert images.square().mean(dim=1)[written].mean() == pytest.approx(1, abs=1e-4)


def test_authors_may_be_groups(reviews: Path) -> None:
    prepared = prepared_from(reviews, groups="author")
    assert sum(map(len, prepared.groups)) == len(set().union(*prepared.groups)) == 12


def test_texts_may_have_numbers_or_several_labels(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(60)]
    stars, tags = [i % 5 for i in range(60)], ["a b", "a", "b", ""] * 15
    table = write_table(tmp_path / "reviews.csv", body=texts, stars=stars, tags=tags)
    scored = prepared_from(table, input="body", task="regression", target="stars")
    assert (scored.task, scored.outputs) == ("regression", ("stars",))
    tagged = prepared_from(table, input="body", task="multi-label", target="tags", separator=" ")
    assert (tagged.outputs, [sum(c) for c in tagged.counts]) == (("a", "b"), [30, 30])


def test_line_breaks_and_quotes_within_a_text_belong_to_it(tmp_path: Path) -> None:
    texts = ['say "a",\nb; c', "plain"] * 30
    table = write_table(tmp_path / "reviews.csv", text=texts, label=["a", "b"] * 30)
    prepared = prepared_from(table, text={"length": 14, "alphabet": 'abcpsyiln",\n;'})
    assert sum(prepared.totals) == 60
    seen = {bytes(image.ravel()) for image in load_search_data(prepared.folder).train.images}
    quoted = symbols_of(texts[:2], Text(length=14, alphabet='abcpsyiln",\n;'))
    assert seen == {bytes(image.ravel()) for image in quoted}


def with_texts(table: Path, **texts: str) -> Path:
    """Write a table of 60 texts, of which some are replaced: `row_3` is the third."""
    written = [texts.get(f"row_{i}", f"text {i}") for i in range(1, 61)]
    return write_table(table, text=written, label=["a", "b"] * 30)


def test_empty_texts_are_named(tmp_path: Path) -> None:
    table = with_texts(tmp_path / "reviews.csv", row_3="", row_7=" \n", row_9="§ §")
    assert problem(table) == (
        "3 text(s) cannot be decoded:\n"
        "  reviews.csv: row 3: is empty\n"
        "  reviews.csv: row 7: is empty\n"
        "  reviews.csv: row 9: holds no character of the alphabet\n"
        "Mend or remove them, or leave them out with data.on_broken: skip"
    )


def test_empty_texts_can_be_skipped(tmp_path: Path) -> None:
    table = with_texts(tmp_path / "reviews.csv", row_3="", row_9="§ §")
    prepared = prepared_from(table, on_broken="skip")
    assert sum(prepared.totals) == 58
    assert [line.split(": ")[1] for line in left_out(prepared)] == ["row 3", "row 9"]
    data = load_search_data(prepared.folder)
    assert data.train.images.any(axis=(1, 2, 3)).all()


def test_texts_in_another_alphabet_get_one_proposed(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", text=["ббба вв"] * 60, label=["a", "b"] * 30)
    assert problem(table) == (
        "t.csv: data.text.alphabet holds 0% of the characters in column 'text'; write the alphabet "
        "of these texts, such as alphabet: 'бва'"
    )
    assert prepared_from(table, text={"alphabet": "бва"}).image_shape == (3, 1, 256)


def test_a_missing_column_is_named(reviews: Path) -> None:
    assert problem(reviews, input="txt") == (
        "reviews.csv: data.input: there is no column 'txt'; did you mean 'text'?"
    )


def test_any_change_of_texts_or_options_changes_the_fingerprint(tmp_path: Path) -> None:
    table = with_texts(tmp_path / "reviews.csv")
    seen = [prepared_from(table).fingerprint]
    for options in ({"length": 255}, {"alphabet": ALPHABET[:-1]}, {"alphabet": ALPHABET[::-1]}):
        seen.append(prepared_from(table, text=options).fingerprint)
    with_texts(table, row_5="tent 5")
    seen.append(prepared_from(table).fingerprint)
    assert len(set(seen)) == 5


def test_a_table_without_a_header_and_two_columns_of_text_is_read(tmp_path: Path) -> None:
    """As AG News comes: class, title and text, all quoted, and no header."""
    lines = [f'"{i % 2 + 1}","Title {i}","It said: ""so"", {i}"' for i in range(40)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    data = Data(
        source="text", root=str(tmp_path / "train.csv"), columns=("class", "title", "text"),
        input=("title", "text"), target=("class",), text=Text(length=24),
    )  # fmt: skip
    prepared = prepare(data)
    assert (prepared.outputs, sum(prepared.totals)) == (("1", "2"), 40)
    expected = symbols_of([f'Title {i} It said: "so", {i}' for i in range(40)], Text(length=24))
    seen = {bytes(image) for image in load_search_data(prepared.folder).train.images}
    assert seen < {bytes(image) for image in expected} and len(seen) == 32


def test_a_column_of_a_table_of_texts_is_the_split(tmp_path: Path) -> None:
    parts = ["train"] * 40 + ["dev"] * 8 + ["test"] * 12
    table = write_table(
        tmp_path / "t.csv",
        text=[f"text {i}" for i in range(60)],
        label=["a", "b"] * 30,
        split=parts,
    )
    prepared = prepared_from(table)
    assert prepared.totals == (40, 8, 12)
    assert "test (selects) = their 'dev' (8)" in prepared.account.decided[0]
