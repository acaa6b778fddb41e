"""Which files of a folder are read, of which class, and in which part: all counted, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, write_folder
from PIL import Image

from hpsearch.data.findings import read_audit
from hpsearch.data.prepare import prepare
from hpsearch.data.sources.files import FileKind, Listing, folder_listing
from hpsearch.data.sources.folder import is_picture
from hpsearch.data.sources.published import role_of
from hpsearch.errors import DataError
from hpsearch.study.data import Data
from hpsearch.study.splits import Roots, Split

KIND = FileKind("image", "IMAGE.jpg", (".png", ".jpg"), is_picture)


def listing(root: Path, **changes: Any) -> Listing:
    data = Data(source="folder", root=str(root), image_size=8, **changes)
    return folder_listing(data, root, KIND)


def told(found: Listing) -> dict[str, tuple[str, str | None]]:
    """Return class and part of every file that is used, by name."""
    columns = found.columns.values
    parts = columns.get("split", [None] * len(found.paths))
    every = zip(found.columns.examples, columns["label"], parts, strict=True)
    return {name: (label, part) for name, label, part in every}


def reasons(found: Listing) -> dict[str, list[str]]:
    return {left.reason: list(left.names) for left in found.account.left_out}


def files(root: Path, *names: str) -> Path:
    """Write a small picture of its own under each of these names."""
    for name, pixels in zip(names, noise(len(names), 6, 6), strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / name, "PNG")
    return root


def two_of(*folders: str) -> list[str]:
    return [f"{folder}/{i}.png" for folder in folders for i in (1, 2)]


def test_pictures_are_known_by_content_and_all_others_counted_by_reason(tmp_path: Path) -> None:
    files(tmp_path, *two_of("cat", "dog"), "cat/no_ending", "dog/3.png_large", "loose.png")
    (tmp_path / "cat" / "3.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "cat" / "notes").write_text("no picture")
    (tmp_path / "cat" / ".hidden.png").write_bytes(b"")
    found = listing(tmp_path)
    assert told(found) == {
        name: (name[:3], None)
        for name in (*two_of("cat", "dog"), "cat/no_ending", "dog/3.png_large")
    }
    assert reasons(found) == {
        "ending in .heic, no image that can be read": ["cat/3.heic"],
        "without ending, no image that can be read": ["cat/notes"],
        "beside the class folders": ["loose.png"],
    }
    assert (found.account.found, found.account.used) == (9, 6)


def test_what_is_left_out_is_told_anew_where_a_file_comes_to_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", {"cat": 10, "dog": 10})
    data = Data(source="folder", root=str(tmp_path / "pets"), image_size=8)
    first = prepare(data)
    (tmp_path / "pets" / "cat" / "notes.md").write_text("no picture")
    second = prepare(data)
    assert (first.account.found, second.account.found) == (20, 21)
    assert first.fingerprint == second.fingerprint


LEVELS = {
    "training_set and test_set": "training_set/cat training_set/dog test_set/cat test_set/dog",
    "train2017 and val2017": "train2017/a train2017/b train2017/c val2017/a val2017/b",
    "folders within folders of their name": (
        "seg_train/seg_train/sea seg_train/seg_train/ice "
        "seg_test/seg_test/sea seg_test/seg_test/ice"
    ),
}


@pytest.mark.parametrize("kind", LEVELS)
def test_folders_with_the_same_classes_below_them_are_parts(tmp_path: Path, kind: str) -> None:
    names = two_of(*LEVELS[kind].split())
    teaches = names[0].split("/")[0]
    found = listing(files(tmp_path, *names))
    assert told(found) == {name: (name.split("/")[-2], name.split("/")[0]) for name in names}
    assert found.published is not None
    expected = [0 if name.startswith(teaches) else 2 for name in found.columns.examples]
    assert found.published.tolist() == expected
    assert "test (selects): cut from train" in found.account.decided[-1]


def test_pictures_without_a_class_beside_the_parts_are_left_out(tmp_path: Path) -> None:
    names = two_of("seg_train/sea", "seg_train/ice", "seg_test/sea", "seg_test/ice")
    found = listing(files(tmp_path, *names, "seg_pred/seg_pred/7.png"))
    assert set(told(found)) == set(names)
    assert reasons(found) == {
        "in seg_pred, beside the folder(s) of classes": ["seg_pred/seg_pred/7.png"]
    }


def test_train_beside_annotations_is_no_class(tmp_path: Path) -> None:
    names = two_of("train/cat", "train/dog")
    files(tmp_path, *names)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "all.json").write_text("{}")
    found = listing(tmp_path)
    assert told(found) == {name: (name.split("/")[1], None) for name in names}
    assert found.account.decided == ("classes are the folders in train",)
    assert list(reasons(found)) == ["ending in .json, no image that can be read"]


def test_train_with_classes_beside_a_test_without_any_teaches_alone(tmp_path: Path) -> None:
    names = two_of("train/cat", "train/dog")
    found = listing(files(tmp_path, *names, "test/1.png", "test/2.png"))
    assert set(told(found)) == set(names) and found.published is None
    assert reasons(found) == {
        "in test, beside the folder(s) of classes": ["test/1.png", "test/2.png"]
    }


def test_a_held_out_part_whose_classes_are_written_otherwise_is_no_heap_of_pictures(
    tmp_path: Path,
) -> None:
    files(tmp_path, *two_of("train/Cat", "train/Dog", "test/cat", "test/dog"))
    found = listing(tmp_path)
    assert found.published is not None and found.account.used == 8
    assert set(found.columns.values["label"]) == {"Cat", "Dog", "cat", "dog"}


def test_a_held_out_part_of_one_class_is_a_part(tmp_path: Path) -> None:
    found = listing(files(tmp_path, *two_of("train/cat", "train/dog", "test/cat")))
    assert found.published is not None and found.published.tolist() == [2, 2, 0, 0, 0, 0]


def test_parts_may_lie_within_the_classes(tmp_path: Path) -> None:
    names = two_of("cat/train", "cat/test", "dog/train", "dog/test")
    found = listing(files(tmp_path, *names))
    assert told(found) == {name: tuple(name.split("/")[:2]) for name in names}
    assert found.published is not None and set(found.published.tolist()) == {0, 2}


def test_two_levels_of_which_either_may_be_the_classes_are_shown_with_the_key(
    tmp_path: Path,
) -> None:
    names = two_of("cat/2019", "cat/2020", "dog/2019", "dog/2020")
    with pytest.raises(DataError) as caught:
        listing(files(tmp_path, *names))
    says = str(caught.value)
    assert "its folders (cat, dog) or the folders in them (2019, 2020) may be the classes" in says
    outer = listing(tmp_path, pattern="(?P<label>[^/]+)/.+")
    assert "'(?P<label>[^/]+)/.+' for cat" in says
    assert set(outer.columns.values["label"]) == {"cat", "dog"}
    with pytest.raises(DataError, match="do not say which of them teaches"):
        listing(tmp_path, pattern="(?P<split>[^/]+)/(?P<label>[^/]+)/.+")
    parts = {"train": "cat", "validation": "dog"}
    inner = listing(
        tmp_path, pattern="(?P<split>[^/]+)/(?P<label>[^/]+)/.+", split={"parts": parts}
    )
    assert set(inner.columns.values["label"]) == {"2019", "2020"}
    assert inner.published is not None and set(inner.published.tolist()) == {0, 2}


def test_a_class_that_is_called_train_stays_one(tmp_path: Path) -> None:
    names = two_of("bus", "car", "train")
    assert {label for label, _ in told(listing(files(tmp_path, *names))).values()} == {
        "bus", "car", "train",
    }  # fmt: skip
    with pytest.raises(DataError, match="may be the classes, and nothing tells which"):
        listing(files(tmp_path / "b", *two_of("bus", "car", "train/ice", "train/tgv")))


def three_parts(root: Path) -> Path:
    for number, (part, count) in enumerate((("train", 20), ("valid", 6), ("test", 8))):
        write_folder(root / part, {"cat": count, "dog": count}, seed=10 * number)
    return root


def test_valid_selects_and_test_is_sealed(tmp_path: Path) -> None:
    data = Data(source="folder", root=str(three_parts(tmp_path / "x")), image_size=8)
    prepared = prepare(data)
    assert prepared.counts == ((20, 6, 8), (20, 6, 8))
    assert prepared.account.decided == (
        "split as published: train = their 'train' (40); test (selects) = their 'valid' (12); "
        "validation (sealed) = their 'test' (16)",
    )
    pooled = prepare(
        data.model_copy(update={"split": data.split.model_copy(update={"parts": "pooled"})})
    )
    assert pooled.counts == ((28, 3, 3), (28, 3, 3))


def test_copies_across_published_parts_are_told_and_stay(tmp_path: Path) -> None:
    root = three_parts(tmp_path / "x")
    for number in range(3):
        copy = root / "test" / "cat" / f"00{number}.png"
        copy.write_bytes((root / "train" / "cat" / f"00{number}.png").read_bytes())
    prepared = prepare(Data(source="folder", root=str(root), image_size=8))
    assert prepared.counts == ((20, 6, 8), (20, 6, 8))
    audit = read_audit(prepared.folder)
    (found,) = (f for f in audit.findings if f.kind == "copies-across-splits")
    assert "0 test and 3 validation images had a copy elsewhere; 0 were moved" in found.says
    assert audit.moved_from_validation == 0


def test_lists_of_files_are_parts(tmp_path: Path) -> None:
    names = [f"{word}/{i}_nohash_0.png" for word in ("yes", "no") for i in range(10)]
    files(tmp_path, *names)
    (tmp_path / "testing_list.txt").write_text("yes/0_nohash_0.png\nno/0_nohash_0.png\n")
    (tmp_path / "validation_list.txt").write_text("yes/1_nohash_0.png\nno/1_nohash_0.png\n")
    (tmp_path / "README.txt").write_text("recordings of words\n")
    found = listing(tmp_path)
    assert found.published is not None
    of = dict(zip(found.columns.examples, found.published.tolist(), strict=True))
    assert of == {name: {"0": 2, "1": 1}.get(name.split("/")[1][0], 0) for name in names}
    assert (found.account.found, found.account.used) == (21, 20)
    assert list(reasons(found)) == ["ending in .txt, no image that can be read"]
    assert found.account.decided[0].startswith("parts are those of testing_list.txt and validation")


def test_what_stands_in_no_list_beside_a_list_of_train_is_left_out(tmp_path: Path) -> None:
    names = [f"images/{dish}/{i}.jpg" for dish in ("pie", "tart") for i in range(6)]
    files(tmp_path, *names)
    (tmp_path / "meta").mkdir()
    for part, numbers in (("train", (0, 1, 2)), ("test", (3, 4))):
        lines = [f"{dish}/{i}" for dish in ("pie", "tart") for i in numbers]
        (tmp_path / "meta" / f"{part}.txt").write_text("\n".join(lines))
    found = listing(tmp_path)
    assert found.published is not None and found.published.tolist() == [0, 0, 0, 2, 2] * 2
    assert reasons(found) == {"in no list of a split": ["images/pie/5.jpg", "images/tart/5.jpg"]}


def test_names_in_lists_that_no_file_has_are_told(tmp_path: Path) -> None:
    files(tmp_path, *(f"{dish}/{i}.jpg" for dish in ("pie", "tart") for i in range(6)))
    (tmp_path / "train.txt").write_text(
        "".join(f"{d}/{i}.jpg\n" for d in ("pie", "tart") for i in (0, 1, 2))
    )
    (tmp_path / "test.txt").write_text(
        "".join(f"{d}/{i}.jpg\n" for d in ("pie", "tart") for i in (3, 4, 9))
    )
    found = listing(tmp_path)
    assert found.published is not None and found.published.tolist() == [0, 0, 0, 2, 2] * 2
    says = "train 6, test 4; 2 lines name no file that is there: pie/9.jpg, ..."
    assert found.account.decided[0].endswith(says)


def test_lists_may_name_files_with_spaces_before_their_label(tmp_path: Path) -> None:
    names = [f"apple {dish}/{i}.jpg" for dish in ("pie", "tart") for i in range(4)]
    files(tmp_path, *names)
    (tmp_path / "train.txt").write_text("".join(f"{name} 0\n" for name in names[::2]))
    (tmp_path / "test.txt").write_text("".join(f"{name},1\n" for name in names[1::2]))
    found = listing(tmp_path)
    assert found.published is not None and found.published.tolist() == [0, 2] * 4


def test_a_name_that_two_files_have_is_none_of_theirs_in_a_list(tmp_path: Path) -> None:
    files(tmp_path, *(f"{dish}/{i}.jpg" for dish in ("pie", "tart") for i in range(4)))
    (tmp_path / "train.txt").write_text("0.jpg\n1.jpg\n")
    found = listing(tmp_path)
    assert found.published is None and found.account.used == 8


def test_background_noise_of_speech_commands_is_no_class(tmp_path: Path) -> None:
    names = two_of("yes", "no")
    found = listing(files(tmp_path, *names, "_background_noise_/white.png"))
    assert set(told(found)) == set(names)
    assert reasons(found) == {
        "in _background_noise_, which is no class": ["_background_noise_/white.png"]
    }


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("train", "train"), ("Training", "train"), ("seg_train", "train"), ("train2017", "train"),
        ("training_set", "train"), ("PublicTest", "test"), ("Testing", "test"), ("val2017", "dev"),
        ("dev", "dev"), ("testing_list", "test"), ("valley", None), ("trainer", None),
        ("latest", None), ("train_test", None), ("fold1", None),
    ],
)  # fmt: skip
def test_names_of_parts_say_what_they_are_for(name: str, role: str | None) -> None:
    assert role_of(name) == role


def test_a_table_without_endings_beside_the_folder_of_its_files(tmp_path: Path) -> None:
    names = [f"photos/{i}.png" for i in range(20)]
    files(tmp_path, *names)
    rows = [f"{i},{'ab'[i % 2]}" for i in range(20)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,label", *rows]))
    data = Data(source="table", root=str(tmp_path / "labels.csv"), image_size=8)
    with pytest.raises(DataError, match=r"; say data\.files: photos and data\.suffix: \.png$"):
        prepare(data)
    mended = data.model_copy(update={"files": "photos", "suffix": ".png"})
    assert sum(prepare(mended).totals) == 20


def test_a_column_of_a_table_is_the_split(tmp_path: Path) -> None:
    pixels = noise(30, 6, 6)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    usage = ["Training"] * 18 + ["PublicTest"] * 6 + ["PrivateTest"] * 6
    rows = [f"{i}.png,{'ab'[i % 2]},{usage[i]}" for i in range(30)]
    (tmp_path / "t.csv").write_text("\n".join(["path,label,Usage", *rows]))
    split = {"column": "Usage"}
    data = Data(source="table", root=str(tmp_path / "t.csv"), image_size=8, split=split)
    prepared = prepare(data)
    assert prepared.counts == ((9, 3, 3), (9, 3, 3))
    parts = {"train": ["Training", "PublicTest"], "validation": "PrivateTest"}
    data = data.model_copy(update={"split": type(data.split)(column="Usage", parts=parts)})
    assert np.array(prepare(data).counts)[:, 2].tolist() == [3, 3]


def test_a_column_that_holds_other_words_too_is_no_split(tmp_path: Path) -> None:
    for i, image in enumerate(noise(30, 6, 6)):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    for word in ("bus", "train"):
        rows = [f"{i}.png,{'ab'[i % 2]},{'train' if i % 3 else word}" for i in range(30)]
        (tmp_path / "t.csv").write_text("\n".join(["path,label,vehicle", *rows]))
        prepared = prepare(Data(source="table", root=str(tmp_path / "t.csv"), image_size=8))
        assert not any("split" in said for said in prepared.account.decided)


def test_parts_may_lie_in_places_of_their_own(tmp_path: Path) -> None:
    for number, (place, count) in enumerate((("a/ours", 20), ("b/dev", 6), ("c/new", 8))):
        write_folder(tmp_path / place, {"cat": count, "dog": count}, seed=10 * number)
    roots = {"train": "a/ours", "test": "b/dev", "validation": "c/new"}
    data = Data(source="folder", roots=roots, image_size=8)
    prepared = prepare(data, tmp_path)
    assert prepared.counts == ((20, 6, 8), (20, 6, 8))
    assert prepared.account.found == 68
    assert prepared.account.decided[0] == (
        "split as published: train = their 'a/ours' (40); test (selects) = their 'b/dev' (12); "
        "validation (sealed) = their 'c/new' (16)"
    )
    two = data.model_copy(update={"roots": Roots(train="a/ours", test="c/new")})
    assert prepare(two, tmp_path).counts == ((18, 2, 8), (18, 2, 8))  # a ninth of train
    pooled = data.model_copy(update={"split": Split(parts="pooled")})
    assert prepare(pooled, tmp_path).counts == ((28, 3, 3), (28, 3, 3))
    with pytest.raises(DataError, match=r"data.root: b/gone does not exist; looked for it at /"):
        prepare(data.model_copy(update={"roots": Roots(train="a/ours", test="b/gone")}), tmp_path)


@pytest.mark.parametrize("source", ["text", "table"])
def test_tables_of_parts_may_lie_in_places_of_their_own(tmp_path: Path, source: Any) -> None:
    for number, (part, count) in enumerate((("train", 20), ("test", 8))):
        place = tmp_path / part
        for i, pixels in enumerate(noise(count, 8, 8, seed=number)):
            place.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(place / f"{i}.png")
        rows = [f"{i}.png,{part} text {i},{'ab'[i % 2]}" for i in range(count)]
        (place / f"{part}.csv").write_text("\n".join(["path,text,label", *rows]))
    roots = {p: str(tmp_path / p / f"{q}.csv") for p, q in (("train", "train"), ("test", "test"))}
    size = {"image_size": 8} if source == "table" else {}
    prepared = prepare(Data(source=source, roots=roots, **size))
    assert prepared.counts == ((9, 1, 4), (9, 1, 4))
    first = prepared.fingerprint
    (tmp_path / "test" / "test.csv").write_text(
        (tmp_path / "test" / "test.csv").read_text().replace("1.png,test text 1,b", "1.png,t,a")
    )
    assert prepare(Data(source=source, roots=roots, **size)).fingerprint != first
