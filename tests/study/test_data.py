"""The data section: what each source needs, and which wishes make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hpsearch.study.data import ALPHABET, OPTIONS_OF, ROOTS, Data, DataReference, SourceName

NEEDS: dict[str, dict[str, Any]] = {
    "digits": {},
    "mnist": {},
    "folder": {"root": "photos", "image_size": 32},
    "table": {"root": "photos.csv", "image_size": 32},
    "arrays": {"root": "photos.npz"},
    "sound": {"root": "recordings"},
    "text": {"root": "reviews.csv"},
}
OPTIONS: dict[str, Any] = {
    "image_size": 32,
    "task": "multi-label",
    "input": "file",
    "target": "species",
    "separator": ";",
    "pattern": r"(?P<label>\w+)\.png",
    "groups": "patient",
    "files": "images",
    "suffix": ".jpg",
    "fit": "pad",
    "pictures": {"range": [0, 4095], "pages": "all", "decode": "full"},
    "columns": ["file", "species", "patient"],
    "quotes": False,
    "arrays": {"channels_first": True},
    "sound": {"mels": 40},
    "text": {"length": 100},
}


def data_of(source: str, **options: Any) -> Data:
    return Data.model_validate({"source": source} | NEEDS[source] | options)


def problem(source: str, **options: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        data_of(source, **options)
    return str(caught.value.errors()[0]["msg"]).removeprefix("Value error, ")


@pytest.mark.parametrize("source", NEEDS)
@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_taken_by_the_sources_that_use_it_and_refused_by_the_others(
    source: str, option: str
) -> None:
    wishes = {option: OPTIONS[option]}
    if option == "separator":
        wishes["task"] = "multi-label"
    if source in OPTIONS_OF[option]:
        assert getattr(data_of(source, **wishes), option) is not None
    else:
        assert problem(source, **wishes).startswith(f"{source} takes no ")


@pytest.mark.parametrize("source", ROOTS)
def test_a_source_of_files_needs_to_know_where_they_are(source: str) -> None:
    assert problem(source, root=None) == ROOTS[source]


@pytest.mark.parametrize("source", ["table", "arrays", "sound", "text", "folder"])
def test_only_published_sets_have_an_official_test_part(source: str) -> None:
    split = {"train": 0.8, "test": 0.2, "validation": "official"}
    assert "has no official test part" in problem(source, split=split)


def test_targets_are_one_name_or_several() -> None:
    assert data_of("table").target_names() == ("label",)
    assert data_of("arrays").target_names() == ("targets",)
    assert data_of("table", target="species").target_names() == ("species",)
    several = data_of("table", task="regression", target=["width", 7])
    assert several.target_names() == ("width", "7")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"target": ["a", "b"]}, "several targets are no single label; say task: multi-label"),
        ({"target": ["a", "a"], "task": "regression"}, "target names 'a' more than once"),
        ({"target": [], "task": "regression"}, "target is an empty list"),
        ({"separator": ";"}, "separator is for several labels in one column"),
        ({"separator": ";", "target": ["a", "b"], "task": "multi-label"}, "separator is for"),
        ({"balance": "weights", "task": "regression"}, "balance is for classes and labels"),
        ({"balance": "sampling", "task": "multi-label"}, "balance: sampling draws one class as"),
        ({"pattern": "(?P<label>"}, "'(?P<label>' is no regular expression"),
        ({"pattern": r"\d+"}, r"'\\d+' has no named group; write one as (?P<label>...)"),
    ],
    ids=str,
)
def test_wishes_that_make_no_sense_together_are_explained(
    options: dict[str, Any], says: str
) -> None:
    assert problem("table", **options).startswith(says)


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("arrays", {"arrays": {"range": [1, 0]}}),
        ("sound", {"sound": {"mels": 4}}),
        ("sound", {"sound": {"seconds": 0}}),
        ("text", {"text": {"alphabet": "aba"}}),
        ("text", {"text": {"length": 2}}),
    ],
    ids=str,
)
def test_numbers_out_of_bounds_are_refused(source: str, options: dict[str, Any]) -> None:
    assert problem(source, **options)


def test_an_image_size_is_a_side_or_height_and_width() -> None:
    assert data_of("folder", image_size=64).size() == (64, 64)
    wide = data_of("folder", image_size=[48, 96])
    assert wide.size() == (48, 96)
    assert DataReference.model_validate_json(
        DataReference(**wide.model_dump(), fingerprint="a").model_dump_json()
    ).size() == (48, 96)
    assert data_of("folder", image_size=[64, 64]) == data_of("folder", image_size=64)
    assert data_of("digits").size() is None


@pytest.mark.parametrize("size", [0, 7, 225, [48, 300], [8, 8, 8], [], "64", True, 12.5, [[8], 8]])
def test_a_size_that_is_none_is_explained(size: Any) -> None:
    says = problem("folder", image_size=size)
    assert says.startswith(repr(size))
    assert "[height, width]" in says or "than or equal to" in says


def test_an_alphabet_that_names_a_letter_twice_says_which() -> None:
    assert problem("text", text={"alphabet": "abcb"}) == "the alphabet names 'b' more than once"


def test_the_default_alphabet_is_that_of_the_paper() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 68


@pytest.mark.parametrize("source", NEEDS)
def test_a_section_stored_as_json_is_the_same_section(source: SourceName) -> None:
    options = {name: OPTIONS[name] for name, sources in OPTIONS_OF.items() if source in sources}
    reference = DataReference(**data_of(source, **options).model_dump(), fingerprint="abc")
    assert DataReference.model_validate_json(reference.model_dump_json()) == reference


@pytest.mark.parametrize(
    ("source", "written", "says"),
    [
        ("folder", {"roots": {"train": "a"}}, "roots are those of two or three parts"),
        ("folder", {"roots": {"train": "a", "test": "a"}}, "each another place"),
        ("folder", {"root": "b", "roots": {"train": "a", "test": "c"}}, "exclude each other"),
        ("mnist", {"roots": {"train": "a", "test": "c"}}, "mnist takes no roots"),
    ],
)
def test_roots_of_parts_are_two_or_three_and_stand_alone(
    source: str, written: dict[str, Any], says: str
) -> None:
    size = {"image_size": 8} if source == "folder" else {}
    with pytest.raises(ValidationError, match=says):
        Data.model_validate({"source": source} | size | written)
