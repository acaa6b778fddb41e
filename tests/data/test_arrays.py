"""Arrays: images of any shape and range in one .npz, targets and groups beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise
from numpy.typing import NDArray

from hpsearch.data.findings import read_audit
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.errors import DataError
from hpsearch.study.data import Data

COUNT = 60
CLASSES = np.arange(COUNT) % 3


def saved(folder: Path, **arrays: Any) -> Path:
    path = folder / "images.npz"
    np.savez(path, **arrays)
    return path


def prepared_from(path: Path, **options: Any) -> Prepared:
    return prepare(Data(source="arrays", root=str(path), **{"duplicates": "allow", **options}))


def problem(path: Path, **options: Any) -> str:
    with pytest.raises(DataError) as caught:
        prepared_from(path, **options)
    return str(caught.value).replace(f"{path.parent}/", "")


def everything(prepared: Prepared) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Return images and targets of all splits, sorted by the bytes of the images."""
    data = load_search_data(prepared.folder)
    parts = (data.train, data.test, open_sealed(prepared.folder))
    images = np.concatenate([part.images for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    order = sorted(range(len(images)), key=lambda i: images[i].tobytes())
    return images[order], targets[order]


def in_order(images: NDArray[np.uint8]) -> list[int]:
    return sorted(range(len(images)), key=lambda i: images[i].tobytes())


@pytest.mark.parametrize(
    ("shape", "stored", "options"),
    [
        ((6, 9), (6, 9, 1), {}),
        ((6, 9, 1), (6, 9, 1), {}),
        ((6, 9, 3), (6, 9, 3), {}),
        ((6, 9, 5), (6, 9, 5), {}),
        ((1, 40, 7), (1, 40, 7), {"channels_first": False}),
        ((1, 28, 28), (28, 28, 1), {"channels_first": True}),
        ((4, 20, 30), (20, 30, 4), {"channels_first": True}),
        ((3, 16, 12), (16, 12, 3), {"channels_first": True}),
        ((3, 16, 3), (3, 16, 3), {}),
        ((5, 16, 12), (5, 16, 12), {}),
        ((40,), (1, 40, 1), {}),
        ((3, 8, 8), (3, 8, 8), {"channels_first": False}),
        ((3, 8, 8), (8, 8, 3), {"channels_first": True}),
        ((2, 1, 40), (1, 40, 2), {"channels_first": True}),
    ],
    ids=str,
)
def test_images_of_any_height_width_and_channels_are_kept_as_they_are(
    tmp_path: Path, shape: tuple[int, ...], stored: tuple[int, ...], options: dict[str, Any]
) -> None:
    images = noise(COUNT, *shape)
    path = saved(tmp_path, images=images, targets=CLASSES)
    prepared = prepared_from(path, arrays=options)
    assert prepared.image_shape == (stored[2], stored[0], stored[1])
    wanted = images.transpose(0, 2, 3, 1) if options.get("channels_first") else images
    wanted = wanted.reshape(COUNT, *stored)
    found, targets = everything(prepared)
    assert np.array_equal(found, wanted[in_order(wanted)])
    assert np.array_equal(targets, CLASSES[in_order(wanted)])


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_images_come_in_the_size_that_the_study_asks_for(tmp_path: Path, channels: int) -> None:
    levels = np.broadcast_to(noise(COUNT, 1, 1, channels), (COUNT, 20, 20, channels))
    path = saved(tmp_path, images=levels, targets=CLASSES)
    prepared = prepared_from(path, image_size=12)
    assert prepared.image_shape == (channels, 12, 12)
    wanted = levels[:, :12, :12]
    assert np.array_equal(everything(prepared)[0], wanted[in_order(wanted)])


@pytest.mark.parametrize(
    ("values", "wanted", "levels"),
    [
        (np.array([0, 0.5, 1], np.float32), None, [0, 128, 255]),
        (np.array([-1, 0, 1], np.float64), (-1.0, 1.0), [0, 128, 255]),
        (np.array([-9, 0, 9], np.float16), (-1.0, 1.0), [0, 128, 255]),
        (np.array([0, 7, 255], np.int64), None, [0, 7, 255]),
        (np.array([0, 2048, 4095], np.uint16), (0.0, 4095.0), [0, 128, 255]),
        (np.array([0, 8, 16], np.uint8), (0.0, 16.0), [0, 128, 255]),
        (np.array([False, True, True]), None, [0, 255, 255]),
    ],
    ids=str,
)
def test_numbers_become_grey_levels_by_the_range_that_is_stated(
    tmp_path: Path, values: Any, wanted: Any, levels: list[int]
) -> None:
    images = np.resize(values, (COUNT, 4, 6))
    path = saved(tmp_path, images=images, targets=CLASSES)
    found, _ = everything(prepared_from(path, arrays={"range": wanted}))
    assert np.array_equal(found[0, ..., 0], np.resize(levels, (4, 6)))


def test_targets_of_one_array_are_classes_labels_or_numbers(tmp_path: Path) -> None:
    images = noise(COUNT, 4, 4)
    flags = np.stack([CLASSES == 0, CLASSES > 0, CLASSES == 2], axis=1)
    numbers = np.linspace(-1, 1, 2 * COUNT).reshape(COUNT, 2)
    path = saved(tmp_path, images=images, targets=CLASSES + 4, flags=flags, numbers=numbers)
    classes = prepared_from(path)
    assert (classes.outputs, classes.counts[0]) == (("4", "5", "6"), (16, 2, 2))
    labels = prepared_from(path, task="multi-label", target="flags")
    assert (labels.outputs, labels.task) == (("0", "1", "2"), "multi-label")
    assert np.array_equal(everything(labels)[1], flags[in_order(images)])
    measured = prepared_from(path, task="regression", target="numbers")
    np.testing.assert_allclose(everything(measured)[1], numbers[in_order(images)], rtol=1e-6)


@pytest.mark.parametrize("axes", [(1,), (1, 1, 1)], ids=str)
def test_labels_with_axes_of_one_are_one_for_each_image(
    tmp_path: Path, axes: tuple[int, ...]
) -> None:
    """As Keras, MedMNIST and PCam publish them."""
    meters = (np.arange(COUNT) // 5).reshape(COUNT, *axes)
    path = saved(
        tmp_path, images=noise(COUNT, 4, 4), targets=CLASSES.reshape(COUNT, *axes), meter=meters
    )
    prepared = prepared_from(path, groups="meter")
    assert prepared.outputs == ("0", "1", "2")
    assert sum(len(names) for names in prepared.groups) == 12


def test_byte_strings_are_the_words_that_they_encode(tmp_path: Path) -> None:
    words = np.char.encode(np.array(["chat", "été", "zèbre"]), "utf-8")[CLASSES]
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=words)
    assert prepared_from(path).outputs == ("chat", "zèbre", "été")


@pytest.mark.parametrize(
    "labels",
    [
        lambda flags: np.where(flags, 1, -1),
        lambda flags: np.where(flags, 1.0, -1.0),
        lambda flags: flags,
        lambda flags: np.where(flags, 1, -1)[:, :, None, None],
    ],
)
def test_labels_may_be_minus_1_and_1_or_true_and_false(tmp_path: Path, labels: Any) -> None:
    flags = np.stack([CLASSES == 0, CLASSES > 0, np.arange(COUNT) % 2 == 0], axis=1)
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=labels(flags))
    prepared = prepared_from(path, task="multi-label")
    assert prepared.outputs == ("0", "1", "2")
    assert np.array_equal(everything(prepared)[1], flags[in_order(noise(COUNT, 4, 4)[..., None])])
    said = "-1 is no and 1 is yes" in " ".join(prepared.account.decided)
    assert said == (labels(flags).min() < 0)


def test_words_may_be_labels_of_several(tmp_path: Path) -> None:
    words = np.where(CLASSES == 0, "True", "False")
    path = saved(tmp_path, images=noise(COUNT, 4, 4), ill=words, old=CLASSES > 0)
    prepared = prepared_from(path, task="multi-label", target=["ill", "old"])
    assert [sum(row) for row in prepared.counts] == [20, 40]


@pytest.mark.parametrize(("kind", "least"), [("float16", 2048), ("float32", 2**24)])
def test_classes_that_their_type_cannot_tell_apart_are_a_finding(
    tmp_path: Path, kind: str, least: int
) -> None:
    targets = (least - 1 + 2 * CLASSES).astype(kind)
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=targets)
    (told,) = (
        finding
        for finding in read_audit(prepared_from(path).folder).findings
        if finding.kind == "classes-merged-by-their-type"
    )
    assert told.images == 40
    assert f"40 labels are {least:,} or more" in told.says and kind in told.says


FILLED = "values of 0 to 1; 0 to 1 become black and white, as is usual"
STATED = "-9 to 9 become black and white, as arrays.range"
UNFILLED = "which they do not fill; arrays: {range: "


@pytest.mark.parametrize(
    ("kind", "values", "options", "says"),
    [
        (np.uint8, [0, 255], {}, ""),
        (np.float32, [0, 1], {}, FILLED),
        (np.uint8, [0, 16], {}, UNFILLED + "[0, 16]} spreads them"),
        (np.float64, [0, 0.1], {}, UNFILLED + "[0, 0.1]}"),
        (np.int16, [-9, 9], {"range": [-9, 9]}, STATED),
        (np.int16, [-9, 9], {"range": [0, 5]}, "those beyond are cut there"),
    ],
    ids=str,
)
def test_what_becomes_black_and_white_is_said(
    tmp_path: Path, kind: type[np.number], values: list[float], options: dict[str, Any], says: str
) -> None:
    images = np.resize(np.array(values, kind), (COUNT, 4, 6))
    path = saved(tmp_path, images=images, targets=CLASSES)
    decided = prepared_from(path, arrays=options).account.decided
    assert says in " ".join(decided) if says else not decided


def test_each_of_several_arrays_is_an_output_by_its_name(tmp_path: Path) -> None:
    width, place = np.arange(COUNT) / 7, np.random.default_rng(0).normal(size=(COUNT, 2))
    path = saved(tmp_path, images=noise(COUNT, 4, 4), width=width, place=place)
    prepared = prepared_from(path, task="regression", target=["width", "place"])
    assert prepared.outputs == ("width", "place 0", "place 1")


def test_classes_may_be_words(tmp_path: Path) -> None:
    words = np.array(["oak", "elm", "fir"])[CLASSES]
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=words)
    assert prepared_from(path).outputs == ("elm", "fir", "oak")


def test_an_array_may_name_the_part_of_each_image(tmp_path: Path) -> None:
    parts = np.array(["train"] * 36 + ["val"] * 12 + ["test"] * 12)
    path = saved(tmp_path, images=noise(COUNT, 6, 6), targets=CLASSES, split=parts)
    assert prepared_from(path).totals == (36, 12, 12)
    assert prepared_from(path, split={"parts": "pooled"}).totals == (48, 6, 6)
    path = saved(tmp_path, images=noise(COUNT, 6, 6), targets=CLASSES, split=np.arange(3))
    assert prepared_from(path).totals == (48, 6, 6)


def test_an_array_may_name_the_group_of_each_image(tmp_path: Path) -> None:
    meters = np.arange(COUNT) // 5
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=CLASSES, meter=meters)
    prepared = prepared_from(path, groups="meter")
    assert sorted(int(name) for names in prepared.groups for name in names) == list(range(12))


Change = Callable[[dict[str, Any]], Any]
WRONG: dict[str, tuple[Change, dict[str, Any], str]] = {
    "no images": (
        lambda a: a.update(image=a.pop("images")),
        {},
        "images.npz: data.input: there is no array 'images'; did you mean 'image'?",
    ),
    "no targets": (
        lambda a: a.pop("targets"),
        {},
        "images.npz: data.target: there is no array 'targets'; it has 'images'",
    ),
    "another number of targets": (
        lambda a: a.update(targets=CLASSES[:-1]),
        {},
        "images.npz: array 'targets' has the shape (59,), and there are 60 images",
    ),
    "words for images": (
        lambda a: a.update(images=np.array(["a"] * COUNT)),
        {},
        "images.npz: array 'images' has the shape (60,) and the type <U1; expected numbers",
    ),
    "no image at all": (
        lambda a: a.update(images=np.zeros((0, 4, 4)), targets=np.zeros(0)),
        {},
        "images.npz: array 'images' has the shape (0, 4, 4)",
    ),
    "channels that seem to come first": (
        lambda a: a.update(images=noise(COUNT, 3, 8, 8)),
        {},
        "images.npz: array 'images' has the shape (60, 3, 8, 8), so the channels seem to be its "
        "second axis; say arrays: {channels_first: true}",
    ),
    "a channel that seems to come first": (
        lambda a: a.update(images=noise(COUNT, 1, 28, 28)),
        {},
        "images.npz: array 'images' has the shape (60, 1, 28, 28), so the channels seem to be its "
        "second axis; say arrays: {channels_first: true} where these are 60 images of 28 x 28 with "
        "1 channel(s), or false where they are images of 1 x 28 with 28 channels",
    ),
    "four channels that seem to come first": (
        lambda a: a.update(images=noise(COUNT, 4, 20, 30)),
        {},
        "images.npz: array 'images' has the shape (60, 4, 20, 30), so the channels seem to be",
    ),
    "channels first of images that are no squares": (
        lambda a: a.update(images=noise(COUNT, 3, 16, 12)),
        {},
        "images.npz: array 'images' has the shape (60, 3, 16, 12), so the channels seem to be",
    ),
    "many channels of a square that seem to come first": (
        lambda a: a.update(images=noise(COUNT, 13, 16, 16)),
        {},
        "images.npz: array 'images' has the shape (60, 13, 16, 16), so the channels seem to be",
    ),
    "channels of a line that seem to come first": (
        lambda a: a.update(images=noise(COUNT, 1, 1, 40)),
        {},
        "images.npz: array 'images' has the shape (60, 1, 1, 40), so the channels seem to be its "
        "second axis; say arrays: {channels_first: true} where these are 60 images of 1 x 40",
    ),
    "floats above 1": (
        lambda a: a.update(images=np.linspace(-3, 9.5, COUNT * 16).reshape(COUNT, 4, 4)),
        {},
        "images.npz: array 'images': values lie between -3 and 9.5, and floats are expected from "
        "0 to 1; say which become black and white, such as arrays: {range: [-3, 9.5]}",
    ),
    "whole numbers above 255": (
        lambda a: a.update(images=np.arange(COUNT * 16).reshape(COUNT, 4, 4)),
        {},
        "images.npz: array 'images': values lie between 0 and 959, and whole numbers are expected",
    ),
    "an image of NaN": (
        lambda a: a.update(images=np.where(CLASSES[:, None, None] == 2, np.nan, np.zeros((4, 4)))),
        {"arrays": {"range": [0, 1]}},
        "images.npz: array 'images': 20 image(s) hold values that are no finite number",
    ),
    "fractions for classes": (
        lambda a: a.update(targets=CLASSES / 2),
        {},
        "images.npz: array 'targets' holds numbers that are no whole ones (image 1, and 19 more",
    ),
    "NaN for a class": (
        lambda a: a.update(targets=np.where(CLASSES == 1, np.nan, CLASSES)),
        {},
        "images.npz: image 1 has no label, and 19 more have none: array 'targets' is NaN there",
    ),
    "a matrix for classes": (
        lambda a: a.update(targets=np.eye(3)[CLASSES]),
        {},
        "images.npz: array 'targets' has the shape (60, 3), and a single label is one value for "
        "each example; its rows hold a single 1, as one-hot codes do: save targets.argmax(axis=1)",
    ),
    "several classes": (
        lambda a: a.update(targets=np.stack([CLASSES, CLASSES], axis=1)),
        {},
        "images.npz: array 'targets' has the shape (60, 2), and a single label is one value for "
        "each example; say task: multi-label or task: regression",
    ),
    "bytes that are no text": (
        lambda a: a.update(targets=np.array([b"cat", b"\xff", b"dog"])[CLASSES]),
        {},
        "images.npz: is not an .npz file of plain arrays: array 'targets' holds bytes that are no "
        "UTF-8",
    ),
    "NaN for a label": (
        lambda a: a.update(targets=np.where(np.eye(60, 3), np.nan, 1)),
        {"task": "multi-label"},
        "images.npz: image 0 has no label, and 2 more have none: array 'targets' is NaN there",
    ),
    "NaN for a number": (
        lambda a: a.update(targets=np.where(np.arange(60) == 5, np.nan, np.arange(60))),
        {"task": "regression"},
        "images.npz: image 5 has no number: array 'targets' is NaN there",
    ),
    "labels of -1, 0 and 1": (
        lambda a: a.update(targets=np.stack([CLASSES - 1, CLASSES - 1], axis=1)),
        {"task": "multi-label"},
        "images.npz: array 'targets' holds a value that is neither 0 nor 1 (image 0",
    ),
    "classes for labels": (
        lambda a: None,
        {"task": "multi-label"},
        "images.npz: array 'targets' holds a value that is neither 0 nor 1 (image 2, and 19 more",
    ),
    "a number that is too large": (
        lambda a: a.update(targets=np.where(CLASSES == 1, 1e60, 1.0)),
        {"task": "regression"},
        "images.npz: array 'targets' holds a value that is no finite number (image 1, and 19 more",
    ),
    "words for numbers": (
        lambda a: a.update(targets=np.array(["a"] * COUNT)),
        {"task": "regression"},
        "images.npz: array 'targets' is of type <U1 and shape (60,); expected a number",
    ),
    "numbers all alike in one of two": (
        lambda a: a.update(targets=np.stack([CLASSES, CLASSES * 0 + 4], axis=1)),
        {"task": "regression"},
        "images.npz: array 'targets' 1 is 4 throughout; there is nothing to predict",
    ),
    "a matrix for groups": (
        lambda a: a.update(meter=np.zeros((COUNT, 2))),
        {"groups": "meter"},
        "images.npz: array 'meter' has the shape (60, 2); groups need one value for each example",
    ),
    "objects": (
        lambda a: a.update(targets=np.array([{}] * COUNT)),
        {},
        "images.npz: is not an .npz file of plain arrays: array 'targets' holds Python objects; "
        "save numbers or text",
    ),
    "a split whose names say nothing": (
        lambda a: a.update(split=np.array(["a", "b"])[CLASSES % 2]),
        {},
        "images.npz: its parts are 'a' (40), 'b' (20), and their names do not say which",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_with_an_array_is_said(tmp_path: Path, wrong: str) -> None:
    change, options, says = WRONG[wrong]
    arrays: dict[str, Any] = {"images": noise(COUNT, 4, 4), "targets": CLASSES}
    change(arrays)
    assert problem(saved(tmp_path, **arrays), **options).startswith(says)


@pytest.mark.parametrize("content", [b"", b"PK\3\4 half a zip", b"no arrays"], ids=str)
def test_a_file_without_arrays_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "images.npz"
    path.write_bytes(content)
    assert problem(path).startswith("images.npz: is not an .npz file of plain arrays: ")


def test_half_a_file_is_named(tmp_path: Path) -> None:
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=CLASSES)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert problem(path).startswith("images.npz: is not an .npz file of plain arrays: ")
    path.write_bytes(whole[:200] + bytes(100) + whole[300:])
    assert problem(path).startswith("images.npz: is not an .npz file of plain arrays: ")


def test_one_array_alone_is_no_data(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", noise(3, 4, 4))
    assert "it holds one array alone, and targets are another" in problem(tmp_path / "images.npy")


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    assert "does not exist; name an .npz file" in problem(tmp_path / "none.npz")
    assert "is a folder; name an .npz file" in problem(tmp_path)


def test_a_file_is_found_below_the_folder_where_data_lies(tmp_path: Path) -> None:
    saved(tmp_path, images=noise(COUNT, 4, 4), targets=CLASSES)
    data = Data(source="arrays", root="images.npz")
    assert prepare(data, tmp_path) == prepare(data, tmp_path / "images.npz")


def test_any_change_of_the_content_changes_the_fingerprint(tmp_path: Path) -> None:
    images = noise(COUNT, 4, 4)
    seen = [prepared_from(saved(tmp_path, images=images, targets=CLASSES)).fingerprint]
    images[0, 0, 0] ^= 1
    seen.append(prepared_from(saved(tmp_path, images=images, targets=CLASSES)).fingerprint)
    relabelled = CLASSES[::-1]
    seen.append(prepared_from(saved(tmp_path, images=images, targets=relabelled)).fingerprint)
    stretched = {"range": (0, 128)}
    seen.append(prepared_from(tmp_path / "images.npz", arrays=stretched).fingerprint)
    assert len(set(seen)) == 4


def test_how_classes_are_balanced_is_no_part_of_the_data(tmp_path: Path) -> None:
    path = saved(tmp_path, images=noise(COUNT, 4, 4), targets=CLASSES)
    assert prepared_from(path, balance="sampling") == prepared_from(path)
