"""Image folders: any size, mode and orientation in; one shape out; what is broken is named."""

from __future__ import annotations

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import left_out, noise, write_folder
from numpy.typing import NDArray
from PIL import Image, features

from hpsearch.data.account import Account
from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sources.pictures import decode_image
from hpsearch.errors import DataError
from hpsearch.study.data import Data


def data_in(root: Path, **changes: Any) -> Data:
    return Data(source="folder", root=str(root), **{"image_size": 16, **changes})


def problem(root: Path, **changes: Any) -> str:
    """Return what preparing a folder says when it cannot be used."""
    with pytest.raises(DataError) as caught:
        prepare(data_in(root, **changes))
    return str(caught.value)


def decoded(
    path: Path, picture: Image.Image, size: int = 16, grey: bool = False, **options: Any
) -> NDArray[np.uint8]:
    """Return what a picture saved at `path` is decoded to."""
    picture.save(path, **options)
    return decode_image(path, size, grey)


def plain(mode: str, colour: Any, width: int = 20, height: int = 30) -> Image.Image:
    return Image.new(mode, (width, height), colour)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Return a folder of 12 cats and 10 dogs."""
    return write_folder(tmp_path / "pets", {"cat": 12, "dog": 10})


def test_a_folder_of_class_folders_is_split_by_class(pets: Path) -> None:
    prepared = prepare(data_in(pets))
    assert prepared.outputs == ("cat", "dog")
    assert prepared.image_shape == (3, 16, 16)
    assert prepared.counts == ((10, 1, 1), (8, 1, 1))
    assert prepared.totals == (18, 2, 2)
    assert prepared.account == Account(22, 22, things="files")


def test_images_of_all_sizes_and_modes_come_out_in_one_shape(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "mixed", {"a": 4, "b": 4})
    plain("L", 10, 300, 9).save(root / "a" / "grey.png")
    plain("RGBA", (1, 2, 3, 4), 5, 5).save(root / "a" / "alpha.png")
    plain("RGB", (1, 2, 3)).quantize(8).save(root / "a" / "palette.gif")
    plain("CMYK", (1, 2, 3, 4)).save(root / "b" / "print.jpg")
    plain("I;16", 40000).save(root / "b" / "deep.png")
    plain("1", 1).save(root / "b" / "fax.tiff")
    prepared = prepare(data_in(root, image_size=24))
    assert prepared.image_shape == (3, 24, 24)
    assert sum(prepared.totals) == 14
    assert load_search_data(prepared.folder).train.images.shape[1:] == (24, 24, 3)


def test_grey_images_alone_keep_one_channel(tmp_path: Path) -> None:
    for name, value in (("a", 10), ("b", 200)):
        (tmp_path / name).mkdir()
        for i in range(4):
            plain("L", value + i).save(tmp_path / name / f"{i}.png")
    plain("I;16", 5 << 8).save(tmp_path / "a" / "deep.png")
    plain("1", 1).save(tmp_path / "b" / "fax.png")
    assert prepare(data_in(tmp_path)).image_shape == (1, 16, 16)
    plain("RGB", (1, 2, 3)).save(tmp_path / "b" / "colour.png")
    assert prepare(data_in(tmp_path)).image_shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("mode", "written", "read", "suffix"),
    [
        ("L", 100, (100, 100, 100), "png"),
        ("1", 1, (255, 255, 255), "png"),
        ("RGB", (10, 20, 30), (10, 20, 30), "png"),
        ("RGBA", (200, 100, 50, 255), (200, 100, 50), "png"),
        ("RGBA", (200, 100, 50, 0), (255, 255, 255), "png"),
        ("RGBA", (255, 0, 0, 128), (255, 127, 127), "png"),
        ("LA", (0, 128), (127, 127, 127), "png"),
        ("I;16", 0x8040, (128, 128, 128), "png"),
        ("I;16", 0xFFFF, (255, 255, 255), "tiff"),
        ("I;16", 0x0040, (0, 0, 0), "png"),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0), "tiff"),
        ("CMYK", (0, 0, 0, 255), (0, 0, 0), "jpg"),
        ("RGB", (10, 20, 30), (10, 20, 30), "bmp"),
    ],
)
def test_every_mode_is_read_as_the_colour_people_see(
    tmp_path: Path, mode: str, written: Any, read: tuple[int, int, int], suffix: str
) -> None:
    pixels = decoded(tmp_path / f"picture.{suffix}", plain(mode, written))
    assert pixels.shape == (16, 16, 3)
    assert (np.abs(pixels.astype(int) - np.array(read)) <= 1).all()


def test_a_palette_is_looked_up_and_its_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (20, 20), 1)
    picture.putpalette([0, 0, 0, 200, 100, 50])
    assert decoded(tmp_path / "opaque.png", picture)[0, 0].tolist() == [200, 100, 50]
    see_through = decoded(tmp_path / "through.png", picture, transparency=1)
    assert see_through[0, 0].tolist() == [255, 255, 255]
    assert decoded(tmp_path / "opaque.gif", picture)[0, 0].tolist() == [200, 100, 50]


def test_the_centre_square_is_kept_and_the_shorter_side_whole(tmp_path: Path) -> None:
    picture = plain("L", 0, width=60, height=20)
    picture.paste(255, (20, 0, 40, 20))
    assert (decoded(tmp_path / "wide.png", picture, size=20, grey=True) == 255).all()
    upright = decoded(tmp_path / "tall.png", picture.rotate(90, expand=True), size=20, grey=True)
    assert (upright == 255).all()


def test_a_small_image_is_enlarged(tmp_path: Path) -> None:
    pixels = decoded(tmp_path / "tiny.png", plain("RGB", (9, 8, 7), 2, 1), size=32)
    assert pixels.shape == (32, 32, 3)
    assert (pixels == (9, 8, 7)).all()


def test_a_large_photo_is_reduced_without_losing_its_picture(tmp_path: Path) -> None:
    picture = plain("L", 0, width=1600, height=1200)
    picture.paste(255, (800, 0, 1600, 1200))
    pixels = decoded(tmp_path / "large.jpg", picture, grey=True)[..., 0]
    assert pixels[:, :7].max() < 20
    assert pixels[:, 9:].min() > 235


def test_a_photo_is_not_reduced_below_the_size_that_is_asked_for(tmp_path: Path) -> None:
    stripes = (np.arange(256) // 4 % 2 * 255).astype(np.uint8)
    picture = Image.fromarray(np.tile(stripes, (256, 1)))
    pixels = decoded(tmp_path / "stripes.jpg", picture, size=64, grey=True, quality=95)
    assert pixels.std() > 50


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [
        (1, "top left"),
        (2, "top right"),
        (3, "bottom right"),
        (4, "bottom left"),
        (5, "top left"),
        (6, "top right"),
        (7, "bottom right"),
        (8, "bottom left"),
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_photo_is_turned_as_its_camera_says(
    tmp_path: Path, orientation: int, corner: str, suffix: str
) -> None:
    picture = plain("L", 0, width=40, height=40)
    picture.paste(255, (0, 0, 20, 20))  # the first row and column are at the top left as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = decoded(tmp_path / f"photo.{suffix}", picture, grey=True, exif=exif)[..., 0]
    quarters = {
        "top left": pixels[:7, :7],
        "top right": pixels[:7, 9:],
        "bottom left": pixels[9:, :7],
        "bottom right": pixels[9:, 9:],
    }
    assert [name for name, part in quarters.items() if part.mean() > 128] == [corner]


def test_images_below_a_class_folder_belong_to_the_class(pets: Path) -> None:
    (pets / "cat" / "indoor").mkdir()
    (pets / "cat" / "000.png").rename(pets / "cat" / "indoor" / "000.png")
    assert sum(prepare(data_in(pets)).counts[0]) == 12


def test_files_that_are_no_images_and_hidden_ones_are_passed_over(pets: Path) -> None:
    (pets / "cat" / "notes.txt").write_text("two cats")
    (pets / "cat" / "Thumbs.db").write_bytes(b"\0")
    (pets / "cat" / "._000.png").write_bytes(b"\0\5\x16\7")
    (pets / "README").write_text("pets")
    (pets / ".git").mkdir()
    assert prepare(data_in(pets)).counts == ((10, 1, 1), (8, 1, 1))


def test_copies_in_a_hidden_folder_do_not_leak_between_the_splits(pets: Path) -> None:
    hidden = pets / "cat" / ".ipynb_checkpoints"
    hidden.mkdir()
    shutil.copy(pets / "cat" / "000.png", hidden / "000-checkpoint.png")
    assert sum(prepare(data_in(pets)).counts[0]) == 12


def test_capital_extensions_are_images_too(pets: Path) -> None:
    (pets / "cat" / "000.png").rename(pets / "cat" / "000.PNG")
    assert sum(prepare(data_in(pets)).counts[0]) == 12


def test_a_corrupt_image_is_named(pets: Path) -> None:
    broken = pets / "dog" / "003.png"
    broken.write_bytes(broken.read_bytes()[:200])
    says = problem(pets)
    assert says.startswith(f"1 image(s) cannot be decoded:\n  {broken}: ")
    assert "data.on_broken: skip" in says


def test_a_corrupt_image_can_be_skipped_and_is_remembered(pets: Path) -> None:
    broken = pets / "dog" / "003.png"
    broken.write_bytes(b"this is no picture")
    prepared = prepare(data_in(pets, on_broken="skip"))
    assert prepared.counts == ((10, 1, 1), (7, 1, 1))
    (left,) = prepared.account.left_out
    assert left.reason == "cannot be decoded" and len(left.names) == 1
    assert left.names[0].startswith(f"{broken}: ")
    assert (prepared.account.found, prepared.account.used) == (22, 21)
    assert prepare(data_in(pets, on_broken="skip")).account == prepared.account


def test_the_images_that_are_left_are_those_that_were_whole(pets: Path) -> None:
    (pets / "dog" / "003.png").write_bytes(b"this is no picture")
    skipped = prepare(data_in(pets, on_broken="skip"))
    (pets / "dog" / "003.png").unlink()
    assert skipped.fingerprint == prepare(data_in(pets)).fingerprint


def test_many_corrupt_images_are_counted_and_some_named(pets: Path) -> None:
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    says = problem(pets)
    assert says.startswith("12 image(s) cannot be decoded:")
    assert "and 7 more" in says


def test_a_class_of_which_nothing_is_left_is_named(pets: Path) -> None:
    for path in (pets / "cat").iterdir():
        path.write_bytes(b"")
    assert problem(pets, on_broken="skip").startswith("class 'cat' has 0 image(s), too few")


def exif_of_wrong_types() -> bytes:
    """Return EXIF data as broken programs write it: a resolution unit that is text."""
    entries = [
        struct.pack("<HHI4s", 0x0112, 3, 1, struct.pack("<HH", 6, 0)),
        struct.pack("<HHI4s", 0x0128, 2, 4, b"abc\0"),
    ]
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + struct.pack("<I", 0)
    return b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + directory


def empty_avif() -> bytes:
    """Return an AVIF file that does not say which of its items is the image."""
    if not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    out = io.BytesIO()
    plain("RGB", (1, 2, 3)).save(out, "AVIF")
    return out.getvalue().replace(b"pitm", b"free")


def unknown_dds() -> bytes:
    """Return a DDS texture in a pixel format that does not exist."""
    head = struct.pack("<7I", 124, 0x1007, 4, 4, 0, 0, 0) + bytes(44)
    return b"DDS " + head + struct.pack("<2I", 32, 0x2000) + bytes(60)


@pytest.mark.parametrize(
    ("name", "content"), [("empty.avif", empty_avif), ("unknown.dds", unknown_dds)]
)
@pytest.mark.parametrize("on_broken", ["error", "skip"])
def test_an_image_is_broken_however_its_decoder_says_so(
    pets: Path, name: str, content: Callable[[], bytes], on_broken: str
) -> None:
    (pets / "cat" / name).write_bytes(content())
    if on_broken == "error":
        assert str(pets / "cat" / name) in problem(pets)
    else:
        prepared = prepare(data_in(pets, on_broken="skip"))
        assert [line.split(": ")[0] for line in left_out(prepared)] == [str(pets / "cat" / name)]


def test_a_photo_whose_camera_wrote_broken_notes_does_not_stop_the_others(pets: Path) -> None:
    path = pets / "cat" / "photo.jpg"
    plain("RGB", (1, 2, 3)).save(path, exif=exif_of_wrong_types())
    assert sum(prepare(data_in(pets, on_broken="skip")).totals) in (22, 23)


def test_a_missing_root_is_named_with_what_is_expected(tmp_path: Path) -> None:
    says = problem(tmp_path / "nowhere")
    assert says.startswith(f"data.root: {tmp_path / 'nowhere'} does not exist; name the folder")


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK")
    assert "is a file; name the folder" in problem(tmp_path / "images.zip")


def test_a_root_without_class_folders_says_how_it_should_look(tmp_path: Path) -> None:
    plain("L", 1).save(tmp_path / "lonely.png")
    assert problem(tmp_path) == (
        f"{tmp_path}: holds no class folders; expected {tmp_path}/CLASS/IMAGE.jpg"
    )


def test_an_empty_class_folder_is_named(pets: Path) -> None:
    (pets / "owl").mkdir()
    assert problem(pets).startswith(f"{pets / 'owl'}: holds no images; add some, or remove")


@pytest.mark.parametrize("names", [("train", "test"), ("Train", "val"), ("training", "validation")])
def test_a_root_that_is_split_without_classes_says_what_is_expected(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    for name in names:
        write_folder(tmp_path, {name: 3})
    says = problem(tmp_path)
    assert f"its folders are splits ({', '.join(sorted(names))}), not classes" in says
    assert "or a data.pattern that tells the class from names of files" in says


def test_one_class_alone_is_nothing_to_classify(tmp_path: Path) -> None:
    assert "there is only one class (cat)" in problem(write_folder(tmp_path, {"cat": 5}))


def test_a_class_of_two_images_is_named(tmp_path: Path) -> None:
    says = problem(write_folder(tmp_path, {"cat": 5, "dog": 2}))
    assert says.startswith("class 'dog' has 2 image(s), too few for train, test and validation")


def test_progress_is_told_image_by_image(pets: Path) -> None:
    told: list[tuple[int, int]] = []
    prepare(data_in(pets), progress=lambda done, of: told.append((done, of)))
    assert told == [(i, 22) for i in range(1, 23)]


def test_moving_the_folder_elsewhere_keeps_the_fingerprint(pets: Path, tmp_path: Path) -> None:
    before = prepare(data_in(pets))
    (tmp_path / "other" / "place").mkdir(parents=True)
    moved = pets.rename(tmp_path / "other" / "place" / "animals")
    after = prepare(data_in(moved))
    assert after.fingerprint == before.fingerprint
    assert after.counts == before.counts


def changed_pixel(pets: Path) -> None:
    path = pets / "cat" / "005.png"
    with Image.open(path) as picture:
        pixels = np.asarray(picture).copy()
    pixels[10, 10, 1] ^= 128
    Image.fromarray(pixels).save(path)


def renamed_class(pets: Path) -> None:
    (pets / "cat").rename(pets / "bobcat")


def another_image(pets: Path) -> None:
    Image.fromarray(noise(1, 20, 20, 3, seed=99)[0]).save(pets / "dog" / "zzz.png")


def image_of_another_class(pets: Path) -> None:
    (pets / "cat" / "011.png").rename(pets / "dog" / "011.png")


@pytest.mark.parametrize(
    "change", [changed_pixel, renamed_class, another_image, image_of_another_class]
)
def test_any_change_of_the_content_changes_the_fingerprint(pets: Path, change: Any) -> None:
    before = prepare(data_in(pets, image_size=20))
    change(pets)
    assert prepare(data_in(pets, image_size=20)).fingerprint != before.fingerprint


@pytest.fixture(scope="module")
def flowers(shared_data: Path) -> Prepared:
    root = shared_data / "flowers"
    if not root.is_dir():
        pytest.skip(f"no {root}")
    return prepare(data_in(root, image_size=32))


def test_real_photos_are_prepared(flowers: Prepared) -> None:
    assert flowers.outputs == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert flowers.image_shape == (3, 32, 32)
    assert [sum(row) for row in flowers.counts] == [115] * 5
    assert all(abs(row[1] - 11.5) <= 1 and abs(row[2] - 11.5) <= 1 for row in flowers.counts)
    data = load_search_data(flowers.folder)
    assert all(60 < mean < 180 for mean in data.mean)
    assert all(40 < std < 100 for std in data.std)


def test_real_photos_are_no_two_alike(flowers: Prepared) -> None:
    data = load_search_data(flowers.folder)
    images = [*data.train.images, *data.test.images]
    assert len({image.tobytes() for image in images}) == len(images) == sum(flowers.totals[:2])


def test_a_pattern_names_the_patient_and_a_patient_stands_in_one_split(tmp_path: Path) -> None:
    for name in ("ill", "well"):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i, pixels in enumerate(noise(30, 16, 16, seed=len(name))):
            path = tmp_path / "scans" / name / f"patient{i // 3}-{i % 3}.png"
            Image.fromarray(pixels).save(path)
    options = {"pattern": r"(?P<patient>\w+)-\d\.png", "groups": "patient"}
    prepared = prepare(data_in(tmp_path / "scans", **options))
    assert prepared.outputs == ("ill", "well")
    assert prepared.counts == ((24, 3, 3), (24, 3, 3))
    assert [len(names) for names in prepared.groups] == [8, 1, 1]
    assert prepared.groups[0] == tuple(sorted(prepared.groups[0]))


def test_a_pattern_names_the_class_of_files_that_lie_together(tmp_path: Path) -> None:
    for i, pixels in enumerate(noise(40, 16, 16)):
        Image.fromarray(pixels).save(tmp_path / f"{'cat' if i % 2 else 'dog'}.{i}.png")
    prepared = prepare(data_in(tmp_path, pattern=r"(?P<label>cat|dog)\.\d+\.png"))
    assert prepared.counts == ((16, 2, 2), (16, 2, 2))


def test_a_pattern_may_name_a_number(tmp_path: Path) -> None:
    for i, pixels in enumerate(noise(40, 16, 16)):
        Image.fromarray(pixels).save(tmp_path / f"scan_{i}_{20 + i / 2}.png")
    options = {"pattern": r"scan_\d+_(?P<age>[\d.]+)\.png", "target": "age", "task": "regression"}
    prepared = prepare(data_in(tmp_path, **options))
    assert prepared.outputs == ("age",)
    assert prepared.totals == (32, 4, 4)
    assert prepared.target_mean[0] == pytest.approx(29.75, abs=1)


def test_files_that_a_pattern_does_not_match_are_named(pets: Path) -> None:
    says = problem(pets, pattern=r"(?P<owner>\w)_\d+\.png", groups="owner")
    assert "22 of 22 file(s) do not match data.pattern" in says
    assert "such as cat/000.png" in says


def test_a_target_that_no_pattern_names_is_explained(pets: Path) -> None:
    assert problem(pets, target="species").endswith(
        "data.target: there is no group of data.pattern 'species'; it has 'label'"
    )
