"""The audit of prepared data: copies never straddle the split, and sealed images are not shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import scenes
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.audit import audited
from hpsearch.data.copies import find_copies
from hpsearch.data.findings import Audit, Finding, read_audit
from hpsearch.data.oddities import Audited
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources.content import hashes_of_rows
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.sources.text import symbols_of
from hpsearch.data.split import Assignment
from hpsearch.errors import DataError
from hpsearch.study.data import Data, Text
from hpsearch.study.splits import Split

TOGETHER = Data(source="digits")
ALLOW = Data(source="digits", duplicates="allow")
REFUSE = Data(source="digits", duplicates="refuse")
# 100 images: 0 to 59 are train, 60 to 79 test, 80 to 99 validation.
SPLIT = Assignment(np.arange(60), np.arange(60, 80), np.arange(80, 100))


def made(copies: dict[int, int], targets: NDArray[Any] | None = None, **more: Any) -> Decoded:
    """Return 100 pictures of cats (even) and dogs, some of them copies: {copy: original}."""
    images = scenes(100, 20, 20, 1)
    for copy, original in copies.items():
        images[copy] = images[original]
    targets = np.arange(100) % 2 if targets is None else targets
    return Decoded(images, targets, ("cat", "dog"), hashes_of_rows(images), **more)


def look(
    decoded: Decoded, data: Data, place: Path, groups: NDArray[Any] | None = None
) -> tuple[tuple[list[int], list[int], list[int]], Audit]:
    after = audited(decoded, SPLIT, data, place, place / "refused.png", groups)
    parts = (after.train.tolist(), after.test.tolist(), after.validation.tolist())
    assert sorted([*parts[0], *parts[1], *parts[2]]) == list(range(100))
    return parts, read_audit(place)


def finding(audit: Audit, kind: str) -> Finding:
    (one,) = (f for f in audit.findings if f.kind == kind)
    return one


def test_data_without_copies_keeps_its_split_and_has_nothing_to_tell(tmp_path: Path) -> None:
    (train, test, validation), audit = look(made({}), TOGETHER, tmp_path)
    assert (train, test, validation) == (
        list(range(60)),
        list(range(60, 80)),
        list(range(80, 100)),
    )
    assert audit == Audit(100, 0, 0, 0, ())
    assert not list(tmp_path.glob("*.png"))


def test_copies_across_splits_are_moved_into_train(tmp_path: Path) -> None:
    # train and test, train and validation, test and validation; the last within validation alone
    decoded = made({60: 0, 80: 2, 82: 62, 90: 88})
    (train, test, validation), audit = look(decoded, TOGETHER, tmp_path)
    assert set(range(60)) | {60, 62, 80, 82} == set(train)
    assert {60, 62}.isdisjoint(test) and {80, 82}.isdisjoint(validation)
    assert {88, 90} <= set(validation)
    assert (audit.with_copy, audit.moved_from_test, audit.moved_from_validation) == (8, 2, 2)
    across = finding(audit, "copies-across-splits")
    assert across.images == 4
    assert "2 test and 2 validation images had a copy elsewhere; they were moved" in across.says
    within = finding(audit, "copies-within-a-split")
    assert within.says.endswith("3 in train, 0 in test, 1 in validation")


def test_copies_that_are_allowed_stay_and_are_told_of(tmp_path: Path) -> None:
    (_, test, validation), audit = look(made({60: 0, 80: 2}), ALLOW, tmp_path)
    assert 60 in test and 80 in validation
    assert audit.moved_from_test == audit.moved_from_validation == 0
    across = finding(audit, "copies-across-splits")
    assert across.images == 2
    assert "remembered" in across.says


def test_copies_that_are_refused_are_an_error_with_the_pairs(tmp_path: Path) -> None:
    names = [f"pet {i}" for i in range(100)]
    with pytest.raises(DataError) as caught:
        look(made({60: 0, 80: 2}, names=names), REFUSE, tmp_path)
    says = str(caught.value)
    assert says.startswith("4 images have a copy in another split:\n  train pet 0 (cat) = test pet")
    assert "train pet 2 (cat) = validation pet 80 (cat), exact" in says
    assert str(tmp_path / "refused.png") in says and "data.duplicates: together" in says
    assert (tmp_path / "refused.png").exists()
    assert look(made({61: 60}), REFUSE, tmp_path)[1].with_copy == 2, "within a split they may be"


def test_sealed_images_are_neither_named_nor_drawn(tmp_path: Path) -> None:
    names = [f"pet {i}" for i in range(100)]
    decoded = made({80: 0, 81: 1, 91: 80, 60: 10, 93: 92, 94: 92}, names=names)
    decoded.images[95] = 7
    decoded.images[11] = 9
    _, audit = look(decoded, ALLOW, tmp_path)
    assert finding(audit, "copies-across-splits").images == 4
    assert finding(audit, "blank").images == 2
    text = (tmp_path / "audit.json").read_text()
    assert "pet 60" in text and "pet 11 " in text
    assert not [i for i in range(80, 100) if f"pet {i}" in text]
    with Image.open(tmp_path / "copies.png") as sheet:
        drawn = np.asarray(sheet.convert("L"))
    assert shows(drawn, decoded.images[60])
    assert not shows(drawn, decoded.images[80]), "its copy in train is not drawn for it either"


def shows(sheet: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    enlarged = image[..., 0].repeat(6, axis=0).repeat(6, axis=1)
    places = np.argwhere(sheet == enlarged[0, 0])
    return any(np.array_equal(sheet[r : r + 120, c : c + 120], enlarged) for r, c in places)


def test_where_only_sealed_images_are_concerned_no_sheet_is_written(tmp_path: Path) -> None:
    _, audit = look(made({80: 0, 91: 90}), ALLOW, tmp_path)
    across = finding(audit, "copies-across-splits")
    assert (across.images, across.sheet, across.examples) == (1, None, ())
    assert not list(tmp_path.glob("*.png"))


def test_a_copy_takes_its_whole_group_along(tmp_path: Path) -> None:
    groups = np.array([f"g{i // 2}" for i in range(100)])
    (train, test, validation), audit = look(made({60: 0, 83: 62}), TOGETHER, tmp_path, groups)
    assert {60, 61, 62, 63, 82, 83} <= set(train)
    assert {64, 65} <= set(test) and {80, 81} <= set(validation)
    assert "with their groups" in finding(audit, "copies-across-splits").says
    assert "groups-across-splits" not in {f.kind for f in audit.findings}


def test_groups_that_were_split_are_told_of(tmp_path: Path) -> None:
    groups = np.arange(100)
    groups[[5, 65, 85]] = 5
    _, audit = look(made({}), TOGETHER, tmp_path, groups)
    assert finding(audit, "groups-across-splits").images == 3
    assert finding(audit, "groups-across-splits").examples == ("group 5",)


def test_copies_with_different_labels_contradict_each_other(tmp_path: Path) -> None:
    _, audit = look(made({1: 0, 61: 0, 4: 2}), TOGETHER, tmp_path)
    told = finding(audit, "contradicting-targets")
    assert told.images == 3
    assert told.examples == (
        "train image 0 (cat) = train image 1 (dog), exact",
        "train image 0 (cat) = train image 61 (dog), exact",
    )
    assert told.sheet == "contradictions.png" and (tmp_path / told.sheet).exists()


def test_several_labels_contradict_where_one_of_them_does(tmp_path: Path) -> None:
    targets = np.zeros((100, 2), np.float32)
    targets[:60:2, 0] = targets[60::2, 1] = 1
    targets[1] = [1, 1]
    targets[0] = targets[3] = [1, 0]
    decoded = made({1: 0, 3: 0}, targets, task="multi-label")
    told = finding(look(decoded, TOGETHER, tmp_path)[1], "contradicting-targets")
    assert told.images == 2


def test_numbers_contradict_where_they_are_far_apart(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(50, 10, (100, 1)).astype(np.float32)
    numbers[:6, 0] = [40, 40.5, 60, 45, 20, 80]
    decoded = made({1: 0, 3: 2}, numbers, task="regression")
    decoded.images[5] = decoded.images[4] * 0.8  # nearly alike: a number may tell such apart
    told = finding(look(decoded, TOGETHER, tmp_path)[1], "contradicting-targets")
    assert told.examples == ("train image 2 = train image 3, exact",)


def test_blank_images_are_shown(tmp_path: Path) -> None:
    decoded = made({})
    decoded.images[[4, 70]] = np.arange(2, dtype=np.uint8)[:, None, None, None] * 80
    decoded.images[9] = 100 + np.indices((20, 20)).sum(axis=0)[..., None] % 3  # as JPEG leaves it
    _, audit = look(decoded, TOGETHER, tmp_path)
    told = finding(audit, "blank")
    assert told.images == 3
    assert told.examples[2] == "test image 70 (cat)"
    assert (tmp_path / "blank.png").exists()


@pytest.mark.parametrize("copied", [range(60, 71), [*range(60, 80, 2)]])
def test_a_split_that_would_lose_too_much_is_refused(copied: Any, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        look(made({i: i - 60 for i in copied}), TOGETHER, tmp_path)
    says = str(caught.value)
    if len(copied) == 11:
        assert says.startswith("11 of 20 test images have copies in another split")
    else:
        assert says.startswith("every test image of class 'cat' has a copy in another split")
    assert "data.groups" in says and "allow" in says


def products(count: int) -> Decoded:
    """Return pictures of one product, every other one with a scratch: alike, none the same."""
    rng = np.random.default_rng(0)
    scene = scenes(1, 32, 32, 1)[0].astype(int)
    images = np.clip(scene + rng.integers(-3, 4, (count, 32, 32, 1)), 0, 255).astype(np.uint8)
    images[1::2, 10:13, 8:20] = 250
    targets = np.arange(count) % 2
    return Decoded(images, targets, ("whole", "scratched"), hashes_of_rows(images))


def test_where_most_pictures_look_alike_that_is_said_before_they_are_called_copies(
    tmp_path: Path,
) -> None:
    with pytest.raises(DataError) as caught:
        look(products(100), TOGETHER, tmp_path)
    says = str(caught.value)
    assert "100 of 100 pictures look nearly like another one, as pictures of one product" in says
    assert says.index("data.duplicates: allow") < says.index("data.groups") < says.index("remove")
    _, audit = look(products(100), ALLOW, tmp_path)
    told = finding(audit, "most-look-alike")
    assert told.images == 100 and told.instead.startswith("data.groups")


def test_some_copies_are_no_data_set_of_look_alikes(tmp_path: Path) -> None:
    _, audit = look(made({60: 0, 61: 1, 62: 2}), TOGETHER, tmp_path)
    assert "most-look-alike" not in {f.kind for f in audit.findings}


@pytest.mark.parametrize(
    ("low", "high", "told"), [(0, 15, True), (100, 160, True), (0, 63, True), (0, 64, False)]
)
def test_images_of_few_grey_levels_are_told_of(
    low: int, high: int, told: bool, tmp_path: Path
) -> None:
    decoded = made({})
    decoded.images[:] = low + decoded.images / 255 * (high - low)
    decoded.images[:, 0, 0], decoded.images[:, 0, 1] = low, high
    _, audit = look(decoded, ALLOW, tmp_path)
    few = [f for f in audit.findings if f.kind == "few-grey-levels"]
    assert bool(few) == told
    if told:
        assert f"they lie between {low} and {high}" in few[0].says


def test_black_and_white_alone_use_the_whole_range(tmp_path: Path) -> None:
    decoded = made({})
    decoded.images[:] = np.where(decoded.images > 128, 255, 0)
    _, audit = look(decoded, ALLOW, tmp_path)
    assert "few-grey-levels" not in {f.kind for f in audit.findings}


def test_texts_are_shown_as_texts(tmp_path: Path) -> None:
    data = Data(source="text", root="t.csv", duplicates="allow")
    images = symbols_of([f"{i} the cat, sat" for i in range(100)], Text())
    images[60] = images[0]
    decoded = Decoded(
        images, np.arange(100) % 2, ("cat", "dog"), hashes_of_rows(images), symbols=68
    )
    found = Audited(
        decoded, find_copies(images, False), None, np.arange(100), np.zeros(100, int),
        np.zeros(100, int), Text().alphabet,
    )  # fmt: skip
    assert found.shown(60) == "0 the cat, sat"
    audited(decoded, SPLIT, data, tmp_path, tmp_path / "refused.png", pictures=False)
    with Image.open(tmp_path / "copies.png") as sheet:
        assert sheet.height > 60 and len(sheet.getcolors(1 << 16) or ()) > 3


def test_classes_with_too_few_images_and_skewed_ones_are_named(tmp_path: Path) -> None:
    targets = np.zeros(100, np.int64)
    targets[[3, 61, 62, 81, 82]] = 1
    _, audit = look(made({}, targets), TOGETHER, tmp_path)
    assert finding(audit, "few-images-of-a-class").examples == ("dog: 2 test, 2 validation",)
    assert "59 train images of 'cat', 1 of 'dog'" in finding(audit, "skewed-classes").says


def test_an_official_part_with_other_shares_of_classes_is_told_of(tmp_path: Path) -> None:
    targets = np.arange(100) % 2
    targets[80:95] = 1
    _, audit = look(made({}, targets), TOGETHER, tmp_path)
    assert finding(audit, "drifted-classes").says.startswith("validation has other shares")


def written(root: Path, images: NDArray[np.uint8]) -> Data:
    """Write pictures as a folder of cats (even) and dogs."""
    for i, image in enumerate(images):
        place = root / ("cat", "dog")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{i:03}.png")
    return Data(source="folder", root=str(root), image_size=24, split=Split(seed=3))


def test_no_picture_of_prepared_data_stands_in_two_splits(tmp_path: Path) -> None:
    images = scenes(120, 24, 24, 3)
    images[100:] = images[:20]
    prepared = prepare(written(tmp_path / "pets", images))
    data, sealed = load_search_data(prepared.folder), open_sealed(prepared.folder)
    seen = [{image.tobytes() for image in part.images} for part in (data.train, data.test, sealed)]
    assert sum(len(part) for part in seen) == len(set().union(*seen)) == 100
    audit = read_audit(prepared.folder)
    assert audit.moved_from_test + audit.moved_from_validation > 0
    assert sum(prepared.totals) == audit.images == 120
    across = finding(audit, "copies-across-splits")
    assert "cat/" in across.examples[0]
    assert (prepared.folder / "copies.png").exists()
    assert across.examples[0].endswith("exact")


def test_moving_copies_is_another_split_with_another_fingerprint(tmp_path: Path) -> None:
    images = scenes(120, 24, 24, 3)
    images[100:] = images[:20]
    data = written(tmp_path / "pets", images)
    together = prepare(data)
    allowed = prepare(data.model_copy(update={"duplicates": "allow"}))
    assert together.fingerprint != allowed.fingerprint
    with pytest.raises(DataError, match=r"copies\.png"):
        prepare(data.model_copy(update={"duplicates": "refuse"}))


def test_without_copies_the_fingerprint_is_the_same_whatever_is_wished(tmp_path: Path) -> None:
    data = written(tmp_path / "pets", scenes(60, 24, 24, 3))
    wishes = ("together", "refuse", "allow")
    found = [prepare(data.model_copy(update={"duplicates": wish})) for wish in wishes]
    assert len({prepared.fingerprint for prepared in found}) == 1
