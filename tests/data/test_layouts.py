"""Data sets as they are published: small true copies, and what of them is read."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_data import noise
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources import memory
from hpsearch.errors import DataError
from hpsearch.study.data import Data
from hpsearch.study.splits import Split


def everything(prepared: Prepared) -> dict[bytes, Any]:
    """Return the target of every image of all three splits by its pixels."""
    data = load_search_data(prepared.folder)
    found = {}
    for part in (data.train, data.test, open_sealed(prepared.folder)):
        for image, target in zip(part.images, part.targets.tolist(), strict=True):
            found[image.tobytes()] = target
    return found


def by_pixels(images: NDArray[np.uint8], targets: Any) -> dict[bytes, Any]:
    return {image.tobytes(): target for image, target in zip(images, targets, strict=True)}


@pytest.mark.parametrize("names", ["pixel{}", "{}", "0.{}"])
def test_a_column_for_each_pixel_as_kaggle_has_mnist(tmp_path: Path, names: str) -> None:
    images, labels = noise(40, 9, 9), np.arange(40) % 2
    frame = pd.DataFrame(images.reshape(40, -1), columns=[names.format(i) for i in range(81)])
    frame.insert(0, "label", labels)
    frame.to_csv(tmp_path / "train.csv", index=False)
    prepared = prepare(Data(source="table", root=str(tmp_path / "train.csv"), image_size=9))
    assert prepared.image_shape == (1, 9, 9) and prepared.outputs == ("0", "1")
    assert everything(prepared) == by_pixels(images, labels)
    assert prepared.account.decided[0] == "pictures: 9 x 9, of 81 pixels in a row"


def test_red_green_and_blue_of_each_pixel_may_stand_together(tmp_path: Path) -> None:
    images, labels = noise(40, 8, 8, 3), np.arange(40) % 2
    frame = pd.DataFrame(images.reshape(40, -1), columns=[f"pixel{i:04}" for i in range(192)])
    frame.assign(label=labels).to_csv(tmp_path / "hmnist_8_8_RGB.csv", index=False)
    root = str(tmp_path / "hmnist_8_8_RGB.csv")
    prepared = prepare(Data(source="table", root=root, image_size=8))
    assert prepared.image_shape == (3, 8, 8)
    assert everything(prepared) == by_pixels(images, labels)


def test_a_table_of_pixels_without_a_header(tmp_path: Path) -> None:
    images, labels = noise(60, 8, 8), np.arange(60) % 3
    table = np.concatenate([labels[:, None], images.reshape(60, -1)], axis=1)
    np.savetxt(tmp_path / "pixels.csv", table, "%d", ",")
    names = ["label", *(f"pixel{i}" for i in range(64))]
    data = Data.model_validate(
        {"source": "table", "root": str(tmp_path / "pixels.csv"), "image_size": 8}
        | {"columns": names, "duplicates": "allow"}
    )
    prepared = prepare(data)
    assert everything(prepared) == by_pixels(images, labels)


@pytest.mark.parametrize("split", [{"column": "Usage"}, {}], ids=["named", "by its values"])
def test_a_column_of_numbers_and_its_usage_as_fer2013_has_them(
    tmp_path: Path, split: dict[str, str]
) -> None:
    images, labels = noise(60, 8, 8), np.arange(60) % 3
    usage = np.repeat(["Training", "PublicTest", "PrivateTest"], [36, 12, 12])
    rows = [" ".join(map(str, image.ravel())) for image in images]
    frame = pd.DataFrame({"emotion": labels, "pixels": rows, "Usage": usage})
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    data = Data(
        source="table", root=str(tmp_path / "fer2013.csv"), image_size=8, target=("emotion",),
        split=split,
    )  # fmt: skip
    prepared = prepare(data)
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == by_pixels(images, labels)
    sealed = open_sealed(prepared.folder)
    assert by_pixels(sealed.images, sealed.targets) == by_pixels(images[48:], labels[48:])
    frame.loc[3, "pixels"] = "1 2 3"
    frame.to_csv(tmp_path / "fer2013.csv", index=False)
    with pytest.raises(DataError, match="holds 64 numbers in row 1 and 3 in row 4"):
        prepare(data)


NAMES_OF_PARTS = ["{part}_images {part}_labels", "x_{part} y_{part}", "X_{part} Y_{part}"]


@pytest.mark.parametrize("names", NAMES_OF_PARTS)
def test_parts_of_an_npz_as_medmnist_and_keras_have_them(tmp_path: Path, names: str) -> None:
    """MedMNIST: `train_images` ... of 28 x 28, and labels `(N, 1)`."""
    images, labels = noise(60, 8, 8), np.arange(60)[:, None] % 3
    parts = {"train": slice(0, 36), "val": slice(36, 48), "test": slice(48, 60)}
    arrays: dict[str, Any] = {}
    for part, rows in parts.items():
        of_images, of_labels = names.format(part=part).split()
        arrays |= {of_images: images[rows], of_labels: labels[rows]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    prepared = prepare(Data(source="arrays", root=str(tmp_path / "mnist.npz")))
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == by_pixels(images, labels[:, 0])
    sealed = open_sealed(prepared.folder)
    assert by_pixels(sealed.images, sealed.targets) == by_pixels(images[48:], labels[48:, 0])
    assert "test (selects) = their 'val' (12)" in " ".join(prepared.account.decided)


def test_each_part_of_an_npz_has_as_many_targets_as_images(tmp_path: Path) -> None:
    """Joined there are as many, and those from the first difference on belong to others."""
    images, labels = noise(60, 8, 8), np.arange(60) % 3
    np.savez(
        tmp_path / "x.npz", train_images=images[:40], test_images=images[40:],
        train_labels=labels[:39], test_labels=labels[39:],
    )  # fmt: skip
    says = r"array 'train_labels' has the shape \(39,\), and there are 40 images in its part"
    with pytest.raises(DataError, match=says):
        prepare(Data(source="arrays", root=str(tmp_path / "x.npz")))


def pictures(folder: Path, names: list[str], seed: int = 0) -> dict[str, NDArray[np.uint8]]:
    """Write a different grey picture of 8 x 8 under each name, and return them."""
    made = dict(zip(names, noise(len(names), 8, 8, seed=seed), strict=True))
    for name, pixels in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name, "PNG")
    return made


def table_of(root: Path, **options: Any) -> Data:
    return Data(source="table", root=str(root), image_size=8, **options)


PARTED = {"train": 36, "valid": 12, "test": 12}


def test_an_image_folder_of_hugging_face_has_a_table_in_each_part(tmp_path: Path) -> None:
    expected: dict[bytes, Any] = {}
    for number, (part, count) in enumerate(PARTED.items()):
        names = [f"{i}.png" for i in range(count)]
        made = pictures(tmp_path / part, names, number)
        kinds = [("bird", "fish", "frog")[i % 3] for i in range(count)]
        frame = pd.DataFrame({"file_name": names, "label": kinds})
        frame.to_csv(tmp_path / part / "metadata.csv", index=False)
        expected |= by_pixels(np.stack(list(made.values())), [i % 3 for i in range(count)])
    prepared = prepare(table_of(tmp_path))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("bird", "fish", "frog")
    assert everything(prepared) == expected
    assert "input: column 'file_name', for there is no 'path'" in prepared.account.decided
    again = prepare(table_of(tmp_path))
    frame["label"] = "frog"
    frame.to_csv(tmp_path / "test" / "metadata.csv", index=False)
    with pytest.raises(DataError, match="class 'bird' has no image in validation, as its authors"):
        prepare(table_of(tmp_path))
    assert again.fingerprint == prepared.fingerprint


def png(pixels: NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_parquet_with_pictures_and_the_names_of_classes(tmp_path: Path) -> None:
    """As the library `datasets` writes it: bytes and path of an image, and a class number."""
    images, labels = noise(60, 8, 8), np.arange(60) % 2
    info = {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    start = 0
    (tmp_path / "data").mkdir()
    for part, count in {"train": 36, "validation": 12, "test": 12}.items():
        rows = range(start, start + count)
        cells = [{"bytes": png(images[i]), "path": f"{i}.png"} for i in rows]
        table = pa.table({"image": cells, "label": [int(labels[i]) for i in rows]})
        table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
        pq.write_table(table, tmp_path / "data" / f"{part}-00000-of-00001.parquet")
        start += count
    prepared = prepare(table_of(tmp_path))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("cat", "dog")
    assert everything(prepared) == by_pixels(images, labels)
    assert not (prepared.folder / "unpacked").exists()


def test_texts_of_a_parquet_table(tmp_path: Path) -> None:
    columns = {"text": [f"text {i}" for i in range(40)], "label": [i % 2 for i in range(40)]}
    pq.write_table(pa.table(columns), tmp_path / "reviews.parquet")
    prepared = prepare(Data(source="text", root=str(tmp_path / "reviews.parquet")))
    assert (prepared.outputs, sum(prepared.totals)) == (("0", "1"), 40)


def test_folds_may_be_parts_or_groups_and_name_folders(tmp_path: Path) -> None:
    """As ESC-50 (`fold` and `category`) and UrbanSound8K (`audio/fold3/...`) come."""
    names = [f"{i}-{i % 5}.png" for i in range(60)]
    folds = [i % 5 + 1 for i in range(60)]
    every = pictures(tmp_path, [f"audio/fold{f}/{n}" for f, n in zip(folds, names, strict=True)])
    kinds = ["dog" if i // 5 % 2 else "rain" for i in range(60)]
    (tmp_path / "meta").mkdir()
    frame = pd.DataFrame({"filename": names, "fold": folds, "category": kinds})
    frame.to_csv(tmp_path / "meta" / "esc50.csv", index=False)
    parts = {"train": [1, 2, 3], "test": 4, "validation": 5}
    data = table_of(
        tmp_path / "meta" / "esc50.csv", files="../audio/fold{fold}",
        split={"column": "fold", "parts": parts},
    )  # fmt: skip
    prepared = prepare(data)
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("dog", "rain")
    targets = [kind == "rain" for kind in kinds]
    assert everything(prepared) == by_pixels(np.stack(list(every.values())), targets)
    grouped = table_of(tmp_path / "meta" / "esc50.csv", files="../audio/fold{fold}", groups="fold")
    assert [len(names) for names in prepare(grouped).groups] == [3, 1, 1]


LABELS = np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], axis=1).astype(float)


def test_multi_label_exports_of_roboflow(tmp_path: Path) -> None:
    start, images = 0, []
    for number, (part, count) in enumerate(PARTED.items()):
        names = [f"{i}.png" for i in range(count)]
        images += list(pictures(tmp_path / part, names, number).values())
        rows = LABELS[start : start + count].astype(int)
        lines = [f"{n}, {a}, {b}" for n, (a, b) in zip(names, rows, strict=True)]
        (tmp_path / part / "_classes.csv").write_text("\n".join(["filename, cat, dog", *lines]))
        start += count
    prepared = prepare(table_of(tmp_path, task="multi-label"))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("cat", "dog")
    assert everything(prepared) == by_pixels(np.stack(images), LABELS.tolist())


def test_instances_of_coco_are_labels(tmp_path: Path) -> None:
    images = []
    for number, (part, count) in enumerate({"train2017": 40, "val2017": 20}.items()):
        names = [f"{i:012}.png" for i in range(count)]
        images += list(pictures(tmp_path / part, names, number).values())
        start = 40 * number
        told = {
            "images": [{"id": i + 7, "file_name": name} for i, name in enumerate(names)],
            "categories": [{"id": 1, "name": "person"}, {"id": 90, "name": "hair drier"}],
            "annotations": [
                {"id": 5, "image_id": i + 7, "category_id": (1, 90)[k]}
                for i in range(count)
                for k in (0, 1)
                for _ in range(2 * int(LABELS[start + i, k]))
            ],
        }
        (tmp_path / "annotations").mkdir(exist_ok=True)
        (tmp_path / "annotations" / f"instances_{part}.json").write_text(json.dumps(told))
    prepared = prepare(table_of(tmp_path, task="multi-label"))
    assert prepared.outputs == ("person", "hair drier")
    assert sum(prepared.totals[:2]) == 40 and prepared.totals[2] == 20
    assert everything(prepared) == by_pixels(np.stack(images), LABELS.tolist())


def test_the_attributes_of_celeba_and_its_partition(tmp_path: Path) -> None:
    names = [f"{i:06}.png" for i in range(1, 61)]
    images = pictures(tmp_path / "img_align_celeba", names)
    signs = np.where(LABELS > 0, 1, -1)
    rows = [f"{n} {a:2} {b:2}" for n, (a, b) in zip(names, signs, strict=True)]
    listed = ["60", "Smiling Young", *rows]
    (tmp_path / "list_attr_celeba.txt").write_text("\n".join(listed) + "\n")
    parts = [f"{n} {0 if i < 36 else 1 if i < 48 else 2}" for i, n in enumerate(names)]
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    data = table_of(tmp_path / "list_attr_celeba.txt", task="multi-label", files="img_align_celeba")
    prepared = prepare(data)
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("Smiling", "Young")
    assert everything(prepared) == by_pixels(np.stack(list(images.values())), LABELS.tolist())
    (tmp_path / "list_eval_partition.txt").write_text("\n".join(parts[:-1]) + "\n")
    with pytest.raises(DataError, match=r"names no part of 1 of the 60 pictures .*000060.png"):
        prepare(data)
    pooled = data.model_copy(update={"split": Split(parts="pooled")})
    assert sum(prepare(pooled).totals) == 60 and prepare(pooled).totals != (36, 12, 12)


def write_shard(path: Path, members: dict[str, bytes]) -> None:
    """Write a tar file of these members, those of one example together."""
    with tarfile.open(path, "w") as tar:
        for name in sorted(members):
            member = tarfile.TarInfo(name)
            member.size = len(members[name])
            tar.addfile(member, io.BytesIO(members[name]))


def test_shards_of_webdataset(tmp_path: Path) -> None:
    images, labels = noise(60, 8, 8), np.arange(60) % 2
    shards = {"train-0000": range(24), "train-0001": range(24, 48), "test-0000": range(48, 60)}
    for shard, rows in shards.items():
        members = {f"{i:06}.png": png(images[i]) for i in rows}
        members |= {f"{i:06}.cls": str(labels[i]).encode() for i in rows}
        write_shard(tmp_path / f"{shard}.tar", members)
    prepared = prepare(table_of(tmp_path))
    assert prepared.totals[2] == 12 and sum(prepared.totals) == 60
    assert everything(prepared) == by_pixels(images, labels)


def test_of_several_files_in_an_example_the_study_says_which_is_shown(tmp_path: Path) -> None:
    images, masks = noise(60, 8, 8), noise(60, 8, 8, seed=1)
    members = {f"{i}.png": png(images[i]) for i in range(60)}
    members |= {f"{i}.seg.png": png(masks[i]) for i in range(60)}
    members |= {f"{i}.cls": str(i % 2).encode() for i in range(60)}
    write_shard(tmp_path / "all.tar", members)
    with pytest.raises(DataError, match=r"no column 'path'; it has .*'png', 'seg.png'"):
        prepare(table_of(tmp_path / "all.tar"))
    labels = (np.arange(60) % 2).tolist()
    for ending, shown in (("png", images), ("seg.png", masks)):
        prepared = prepare(table_of(tmp_path / "all.tar", input=ending))
        assert everything(prepared) == by_pixels(shown, labels)


@pytest.mark.parametrize(
    ("name", "content"), [("1.json", b"{"), ("1.cls", b"\xff"), ("1.txt", b"\xe9")]
)
def test_text_of_a_shard_that_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write_shard(tmp_path / "all.tar", {"1.png": png(noise(1, 8, 8)[0]), name: content})
    with pytest.raises(DataError, match=f"all.tar: {name} cannot be read"):
        prepare(table_of(tmp_path / "all.tar"))


def test_a_file_of_parquet_that_is_no_part_beside_parts_is_not_split_unsaid(tmp_path: Path) -> None:
    for part in ("train", "test", "unsupervised"):
        columns = {"text": [f"{part} {i}" for i in range(30)], "label": [i % 2 for i in range(30)]}
        pq.write_table(pa.table(columns), tmp_path / f"{part}-0.parquet")
    with pytest.raises(DataError, match=r"'unsupervised' \(30\).*do not say which"):
        prepare(Data(source="text", root=str(tmp_path)))


def test_an_image_folder_may_have_json_lines(tmp_path: Path) -> None:
    expected: dict[bytes, Any] = {}
    for number, (part, count) in enumerate(PARTED.items()):
        names = [f"{i}.png" for i in range(count)]
        made = pictures(tmp_path / part, names, number)
        lines = [
            json.dumps({"file_name": name, "label": i % 3, "box": [1, 2], "note": None})
            for i, name in enumerate(names)
        ]
        (tmp_path / part / "metadata.jsonl").write_text("\n".join(lines) + "\n")
        expected |= by_pixels(np.stack(list(made.values())), [i % 3 for i in range(count)])
    prepared = prepare(table_of(tmp_path))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("0", "1", "2")
    assert everything(prepared) == expected
    assert sum(prepare(table_of(tmp_path / "train" / "metadata.jsonl")).totals) == 36
    (tmp_path / "test" / "metadata.jsonl").write_text(lines[0] + '\n{"file_name": \n')
    with pytest.raises(DataError, match=r"metadata.jsonl: line 2 is no JSON"):
        prepare(table_of(tmp_path))


def classes_exported(root: Path, one_hot: NDArray[Any]) -> dict[bytes, Any]:
    """Write pictures in parts as Roboflow exports them, with a column for each class."""
    start, images = 0, []
    for number, (part, count) in enumerate(PARTED.items()):
        names = [f"{i}.png" for i in range(count)]
        images += list(pictures(root / part, names, number).values())
        rows = one_hot[start : start + count]
        lines = [f"{n}, {', '.join(map(str, row))}" for n, row in zip(names, rows, strict=True)]
        (root / part / "_classes.csv").write_text("\n".join(["filename, cat, dog, eel", *lines]))
        start += count
    return by_pixels(np.stack(images), one_hot.argmax(axis=1))


def test_columns_of_which_one_is_set_in_every_row_are_classes(tmp_path: Path) -> None:
    one_hot = np.eye(3, dtype=int)[np.arange(60) % 3]
    expected = classes_exported(tmp_path, one_hot)
    prepared = prepare(table_of(tmp_path))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("cat", "dog", "eel")
    assert everything(prepared) == expected
    said = "classes: cat, dog, eel are columns of 0 and 1, and exactly one is 1 in each of the rows"
    assert said in prepared.account.decided
    assert prepare(table_of(tmp_path, task="multi-label")).outputs == ("cat", "dog", "eel")
    for odd in ([1, 1, 0], [0, 0, 0]):
        one_hot[50] = odd
        classes_exported(tmp_path, one_hot)
        with pytest.raises(DataError, match="there is no column 'label'"):
            prepare(table_of(tmp_path))


def test_the_truth_of_isic_is_a_table_of_columns_of_floats(tmp_path: Path) -> None:
    names = [f"ISIC_{i:07}" for i in range(60)]
    images = pictures(tmp_path / "images", [f"{name}.png" for name in names])
    one_hot = np.eye(3)[np.arange(60) % 3]
    frame = pd.DataFrame(
        {"image": names, **dict(zip(("MEL", "NV", "BCC"), one_hot.T, strict=True))}
    )
    frame.to_csv(tmp_path / "truth.csv", index=False)
    data = table_of(tmp_path / "truth.csv", files="images", suffix=".png")
    prepared = prepare(data)
    assert prepared.outputs == ("BCC", "MEL", "NV")
    wanted = [("MEL", "NV", "BCC")[i % 3] for i in range(60)]
    found = {pixels: prepared.outputs[k] for pixels, k in everything(prepared).items()}
    assert found == by_pixels(np.stack(list(images.values())), wanted)


def test_class_folders_of_roboflow_are_read_in_their_parts(tmp_path: Path) -> None:
    """With the two texts that an export has beside them; `valid` selects and `test` is sealed."""
    expected: dict[bytes, Any] = {}
    for number, (part, count) in enumerate(PARTED.items()):
        names = [f"{('cat', 'dog')[i % 2]}/{i}_jpg.rf.{i:032x}.png" for i in range(count)]
        made = pictures(tmp_path / part, names, number)
        expected |= by_pixels(np.stack(list(made.values())), [i % 2 for i in range(count)])
    for name in ("README.dataset.txt", "README.roboflow.txt"):
        (tmp_path / name).write_text("pets - v1\n")
    prepared = prepare(Data(source="folder", root=str(tmp_path), image_size=8))
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("cat", "dog")
    assert everything(prepared) == expected
    sealed = open_sealed(prepared.folder)
    assert set(by_pixels(sealed.images, sealed.targets)) <= set(expected)
    assert (prepared.account.found, prepared.account.used) == (62, 60)


@pytest.mark.parametrize("kind", ["parquet", "tar", "csv"])
def test_what_is_read_whole_says_how_much_memory_that_takes_or_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = noise(40, 8, 8), np.arange(40) % 2
    path = tmp_path / f"all.{kind}"
    if kind == "csv":
        frame = pd.DataFrame(images.reshape(40, -1), columns=[f"pixel{i}" for i in range(64)])
        frame.assign(label=labels).to_csv(path, index=False)
    elif kind == "parquet":
        cells = [{"bytes": png(image), "path": ""} for image in images]
        pq.write_table(pa.table({"image": cells, "label": labels}), path)
    else:
        with tarfile.open(path, "w") as tar:
            for i in range(40):
                for ending, content in (("png", png(images[i])), ("cls", str(labels[i]).encode())):
                    member = tarfile.TarInfo(f"{i:06}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
    times = {"parquet": 4.5, "tar": 1, "csv": 10}[kind]
    needed = int(times * path.stat().st_size)
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(memory, "AVAILABLE", meminfo)
    meminfo.write_text(f"MemTotal: 99999999 kB\nMemAvailable: {needed // 1024 - 1} kB\n")
    with pytest.raises(DataError, match=r"GiB that are read whole, which takes about .* available"):
        prepare(table_of(path))
    meminfo.write_text(f"MemAvailable: {needed // 1024 + 1} kB\n")
    monkeypatch.setattr(memory, "MUCH", needed)
    prepared = prepare(table_of(path))
    assert everything(prepared) == by_pixels(images, labels)
    says = f"memory: {path}: read whole, which takes about {needed / 2**30:.1f} GiB of memory"
    assert says in prepared.account.decided


def test_small_tables_say_nothing_of_memory_and_other_systems_have_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = memory.available_bytes()
    assert there is None or there > 2**20
    (tmp_path / "a").write_bytes(bytes(1000))
    assert memory.memory_words([tmp_path / "a"], 10, "") == ()
    monkeypatch.setattr(memory, "AVAILABLE", tmp_path / "none")
    assert memory.available_bytes() is None
    assert memory.memory_words([tmp_path / "a"], 1e12, "")
