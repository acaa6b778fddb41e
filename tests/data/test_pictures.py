"""Pictures of any depth, format and shape: their values are those that another reader finds.

Behaviours of libraries that are pinned here: pillow 13.0, tifffile 2026.3.
"""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from made_data import noise
from numpy.typing import NDArray
from PIL import Image, ImageOps

from hpsearch.data.sources import folder
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.sources.pictures import CODESTREAM, DEPTH_BYTE, Reading
from hpsearch.data.sources.png import colours_of_16_bits
from hpsearch.errors import DataError
from hpsearch.study.data import Data

SIDE = 8
Array = NDArray[Any]


def read(root: Path, scratch: Path | None = None, **options: Any) -> Decoded:
    """Return what a folder of class folders is decoded to, before it is split."""
    data = Data.model_validate(
        {"source": "folder", "root": str(root), "image_size": SIDE, "fit": "squeeze"} | options
    )
    place = scratch or root.parent
    return folder.decode(data, root, place, lambda done, of: None)


def images_of(root: Path, **options: Any) -> dict[str, Array]:
    """Return the images of a folder by the names of their files, without ending."""
    found = read(root, **options)
    return {
        Path(name).stem: np.array(image)
        for name, image in zip(found.names, found.images, strict=True)
    }


def decided(found: Decoded) -> str:
    assert found.account is not None
    return "\n".join(found.account.decided)


def findings(found: Decoded) -> dict[str, str]:
    return {finding.kind: finding.says for finding in found.findings}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with the folders of two classes, empty yet."""
    for name in ("a", "b"):
        (tmp_path / "root" / name).mkdir(parents=True)
    return tmp_path / "root"


def tiff(path: Path, values: Array, **options: Any) -> None:
    tifffile.imwrite(path, values, **options)


def png_16(path: Path, values: Array, key: tuple[int, ...] | None = None, beyond: int = 0) -> None:
    """Write `(height, width, channels)` of 16 bits, which Pillow cannot write for colours.

    So many bytes stand `beyond` the lines that the head tells of.
    """
    kinds = {1: 0, 2: 4, 3: 2, 4: 6}

    def chunk(name: bytes, content: bytes) -> bytes:
        check = zlib.crc32(name + content)
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kinds[channels], 0, 0, 0)
    parts = [chunk(b"IHDR", head)]
    if key is not None:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    parts += [chunk(b"IDAT", zlib.compress(rows + bytes(beyond))), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def j2k_12(path: Path, values: Array) -> None:
    """Write 12 bits as JPEG 2000: a file of 16 bits whose head is told that it has 12.

    What is stored is the distance from the middle, 2048 of 12 bits and 32768 of 16.
    """
    out = io.BytesIO()
    picture = Image.fromarray((values + 32768 - 2048).astype(np.uint16))
    picture.save(out, "JPEG2000", irreversible=False, no_jp2=True)
    content = bytearray(out.getvalue())
    content[content.index(CODESTREAM) + DEPTH_BYTE] = 11
    path.write_bytes(bytes(content))


def values_between(low: int, high: int, seed: int = 0) -> Array:
    """Return `(SIDE, SIDE)` random whole numbers of which the ends are among them."""
    values = np.random.default_rng(seed).integers(low, high + 1, (SIDE, SIDE))
    values[0, 0], values[-1, -1] = low, high
    return values


def scaled(values: Array, low: float, high: float) -> Array:
    """Return what values are as grey levels, counted here by hand."""
    return np.clip(np.round((values - low) / (high - low) * 255), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [
        ("int16", -1000, 3000),
        ("uint16", 0, 4095),
        ("uint16", 0, 1023),
        ("uint16", 0, 255),
        ("int32", -5, 100_000),
        ("uint8", 0, 255),
    ],
)
def test_pictures_have_one_range_from_the_values_of_them_all(
    root: Path, kind: str, low: int, high: int
) -> None:
    wide, narrow = values_between(low, high), values_between(low, high, seed=1) // 2
    narrow = np.maximum(narrow, low)
    tiff(root / "a" / "wide.tif", wide.astype(kind))
    tiff(root / "b" / "narrow.tif", narrow.astype(kind))
    found = images_of(root)
    assert found["wide"].shape == (SIDE, SIDE, 1)
    low = min(low, int(narrow.min()))
    assert np.array_equal(found["wide"][..., 0], scaled(wide, low, high))
    assert np.array_equal(found["narrow"][..., 0], scaled(narrow, low, high))
    if kind != "uint8":
        words = decided(read(root))
        assert f"{low:g} to {high:g} become black and white in all 2 pictures" in words
        assert "the least and the greatest value of them all (wide.tif and wide.tif)" in words


def test_pictures_that_fill_16_bits_keep_the_range_of_their_format(root: Path) -> None:
    values = values_between(7, 60_000)
    for name in ("a", "b"):
        Image.fromarray(values.astype(np.uint16)).save(root / name / f"{name}.png")
    assert np.array_equal(images_of(root)["a"][..., 0], scaled(values, 0, 65535))
    assert "0 to 65535 become black and white" in decided(read(root))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 4095.0), (-2.5, 2.5), (0.0, 0.25)])
def test_floats_become_one_channel_of_all_grey_levels(root: Path, low: float, high: float) -> None:
    values = np.linspace(low, high, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
    tiff(root / "a" / "one.tif", values)
    tiff(root / "b" / "two.tif", values[::-1].copy())
    found = images_of(root)
    assert found["one"].shape == (SIDE, SIDE, 1)
    assert np.array_equal(found["one"][..., 0], scaled(values, low, high))
    assert (found["one"].min(), found["one"].max()) == (0, 255)


def test_the_range_that_the_study_says_counts_for_pictures_of_any_depth(root: Path) -> None:
    deep = values_between(-1000, 3000)
    tiff(root / "a" / "deep.tif", deep.astype(np.int16))
    tiff(root / "b" / "shallow.tif", values_between(0, 255).astype(np.uint8))
    options: dict[str, Any] = {"pictures": {"range": [-160, 240]}}
    found = images_of(root, **options)
    assert np.array_equal(found["deep"][..., 0], scaled(deep, -160, 240))
    assert np.array_equal(found["shallow"][..., 0], scaled(values_between(0, 255), -160, 240))
    words = decided(read(root, **options))
    assert "as pictures.range says; 1 go beyond it, up to -1000 to 3000" in words
    assert "1 pictures of 8 bits beside them have the same range" in words
    assert "1 pictures of 8 bits beside them keep their levels" in decided(read(root))
    assert np.array_equal(images_of(root)["shallow"][..., 0], values_between(0, 255))


def test_the_range_of_pictures_of_8_bits_may_be_said(root: Path) -> None:
    colours = noise(2, SIDE, SIDE, 3) // 16
    for name, pixels in zip("ab", colours, strict=True):
        Image.fromarray(pixels).save(root / name / f"{name}.png")
    found = images_of(root, pictures={"range": [0, 15]})
    assert np.array_equal(found["a"], scaled(colours[0], 0, 15))


def test_whole_numbers_of_32_bits_have_a_sign_where_their_file_says_so(root: Path) -> None:
    """Pillow reads all of them with one: 3 of 4 milliards were below 0."""
    values = noise(2, SIDE, SIDE).astype(np.uint32) * (2**32 // 256)
    values[0, 0, :2] = 0, 2**32 - 1
    for name, some in zip("ab", values, strict=True):
        tiff(root / name / f"{name}.tif", some)
    found = images_of(root)
    for name, some in zip("ab", values, strict=True):
        assert np.array_equal(found[name][..., 0], scaled(some, 0, 2**32 - 1))


def test_a_range_is_in_the_numbers_of_the_file_though_pillow_keeps_8_of_16_bits(root: Path) -> None:
    values = noise(2, SIDE, SIDE, 3).astype(np.uint16) * 16
    for name, some in zip("ab", values, strict=True):
        tiff(root / name / f"{name}.tif", some, photometric="rgb")
    found = images_of(root, pictures={"range": [0, 4095]})
    for name, some in zip("ab", values, strict=True):
        assert np.abs(found[name] - some / 4095 * 255).max() <= 128 / 4095 * 255 + 0.5


def test_twelve_bits_are_the_same_as_jpeg_2000_png_and_tiff(root: Path) -> None:
    values = values_between(0, 4095)
    j2k_12(root / "a" / "j2k.j2k", values)
    tiff(root / "a" / "tiff.tif", values.astype(np.uint16))
    Image.fromarray(values.astype(np.uint16)).save(root / "b" / "png.png")
    found = images_of(root)
    for name in ("j2k", "tiff", "png"):
        assert np.array_equal(found[name][..., 0], scaled(values, 0, 4095)), name


def test_colours_of_16_bits_keep_all_of_them(root: Path) -> None:
    values = np.stack([values_between(0, 4095, seed) for seed in range(3)], axis=2)
    png_16(root / "a" / "colour.png", values)
    tiff(root / "b" / "grey.tif", values[..., 0].astype(np.uint16))
    found = images_of(root)
    assert np.array_equal(found["colour"], scaled(values, 0, 4095))
    assert np.array_equal(found["grey"], scaled(values[..., :1].repeat(3, axis=2), 0, 4095))


def test_of_a_png_no_more_is_unpacked_than_its_head_tells(tmp_path: Path) -> None:
    values = np.stack([values_between(0, 4095, seed) for seed in range(3)], axis=2)
    png_16(tmp_path / "long.png", values, beyond=2**25)
    content = (tmp_path / "long.png").read_bytes()
    tracemalloc.start()
    try:
        assert np.array_equal(colours_of_16_bits(content), values)
        assert tracemalloc.get_traced_memory()[1] < 2**22, "of 2 ** 25 bytes"
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("bands", [2, 3, 4])
def test_filters_of_png_are_undone_for_each_byte_of_16_bits(bands: int) -> None:
    """The five filters, of which a writer chooses one for each line, by their definition."""
    values = np.random.default_rng(0).integers(0, 65536, (10, 7, bands)).astype(">u2")
    lines = values.view(np.uint8).reshape(10, -1).astype(int)
    each, out = 2 * bands, io.BytesIO()
    for y, line in enumerate(lines):
        left = np.concatenate([np.zeros(each, int), line[:-each]])
        up = lines[y - 1] if y else np.zeros_like(line)
        corner = np.concatenate([np.zeros(each, int), up[:-each]])
        guess = left + up - corner
        near = [np.abs(guess - other) for other in (left, up, corner)]
        paeth = np.where(
            (near[0] <= near[1]) & (near[0] <= near[2]),
            left,
            np.where(near[1] <= near[2], up, corner),
        )
        predicted = (0 * line, left, up, (left + up) // 2, paeth)[y % 5]
        out.write(bytes([y % 5]) + ((line - predicted) % 256).astype(np.uint8).tobytes())
    head = struct.pack(">IIBBBBB", 7, 10, 16, {2: 4, 3: 2, 4: 6}[bands], 0, 0, 0)
    packed = zlib.compress(out.getvalue())
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + head + b"\0\0\0\0"
    for part in (packed[:20], packed[20:]):
        content += struct.pack(">I", len(part)) + b"IDAT" + part + b"\0\0\0\0"
    assert np.array_equal(colours_of_16_bits(content), values)
    with pytest.raises(ValueError, match="is cut off"):
        colours_of_16_bits(content[:-30])


def test_a_negative_is_inverted_at_16_bits_as_at_8(root: Path) -> None:
    values = values_between(0, 65535)
    levels = scaled(values, 0, 65535)
    for kind, stored in (("uint16", values), ("uint8", levels)):
        for photometric in ("miniswhite", "minisblack"):
            path = root / "ab"[kind == "uint8"] / f"{kind}-{photometric}.tif"
            tiff(path, stored.astype(kind), photometric=photometric)
    found = images_of(root)
    for kind in ("uint8", "uint16"):
        assert np.array_equal(found[f"{kind}-minisblack"][..., 0], levels)
        assert np.array_equal(found[f"{kind}-miniswhite"][..., 0], 255 - levels)


def test_one_picture_in_another_mode_does_not_make_grey_ones_three_channels(root: Path) -> None:
    grey = noise(4, SIDE, SIDE)
    for i, pixels in enumerate(grey[:2]):
        Image.fromarray(pixels).save(root / "a" / f"grey{i}.png")
    Image.fromarray(np.stack([grey[2], np.full_like(grey[2], 255)], axis=2), "LA").save(
        root / "b" / "alpha.png"
    )
    palette = Image.fromarray(grey[3]).convert("P")
    palette.save(root / "b" / "palette.png")
    Image.fromarray(grey[3]).convert("RGB").save(root / "b" / "colours.png")
    found = images_of(root)
    assert {image.shape for image in found.values()} == {(SIDE, SIDE, 1)}
    assert np.array_equal(found["alpha"][..., 0], grey[2])
    assert np.array_equal(found["palette"][..., 0], grey[3])
    assert np.array_equal(found["colours"][..., 0], grey[3])
    assert np.array_equal(found["grey1"][..., 0], grey[1])
    assert "channels: one" in decided(read(root))
    coloured = Image.fromarray(grey[3]).convert("RGB")
    coloured.putpixel((3, 3), (10, 200, 30))
    coloured.save(root / "b" / "colours.png")
    assert read(root).images.shape[-1] == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_colour_is_white_at_16_bits_as_at_8(root: Path, channels: int) -> None:
    values = np.random.default_rng(1).integers(0, 65000, (SIDE, SIDE, channels))
    values[2:4] = [7 * 257, 8 * 257, 9 * 257][:channels]
    values[0, 0] = 65535
    key = tuple(int(value) for value in values[2, 2])
    png_16(root / "a" / "deep.png", values, key)
    levels = scaled(values, 0, 65535)
    shallow = Image.fromarray(levels[..., 0] if channels == 1 else levels)
    seen = tuple(int(level) for level in levels[2, 2])
    shallow.save(root / "b" / "shallow.png", transparency=seen[0] if channels == 1 else seen)
    found = images_of(root)
    for name in ("deep", "shallow"):
        assert (found[name][2:4] == 255).all(), name
        assert np.array_equal(found[name][4:], levels[4:]), name


def without_extra_samples(path: Path) -> None:
    """Remove the tag ExtraSamples from a TIFF: its number becomes one that means nothing."""
    with tifffile.TiffFile(path) as opened:
        entry = opened.pages[0].tags["ExtraSamples"].offset  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    content[entry : entry + 2] = struct.pack("<H", 65000)
    path.write_bytes(bytes(content))


def test_a_fourth_band_that_is_not_called_transparency_is_none(root: Path) -> None:
    bands = noise(2, SIDE, SIDE, 4)
    bands[..., 3] = np.where(bands[..., 3] < 128, 0, bands[..., 3])
    for name, pixels in zip("ab", bands, strict=True):
        tiff(root / name / f"{name}.tif", pixels, photometric="rgb")
        without_extra_samples(root / name / f"{name}.tif")
    found = images_of(root)
    assert np.array_equal(found["a"], bands[0, ..., :3])
    assert "2 TIFF pictures have a fourth band" in decided(read(root))


def test_transparency_that_varies_all_over_most_pictures_is_a_finding(root: Path) -> None:
    bands = noise(2, SIDE, SIDE, 4)
    for name, pixels in zip("ab", bands, strict=True):
        tiff(root / name / f"{name}.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert "near infrared" in findings(read(root))["transparent-all-over"]
    for name, pixels in zip("ab", bands, strict=True):
        pixels[..., 3] = np.where(pixels[..., 3] < 128, 0, 255)  # a drawing's is all or nothing
        tiff(root / name / f"{name}.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    assert "transparent-all-over" not in findings(read(root))


@pytest.mark.parametrize(
    ("values", "options", "says"),
    [
        (np.zeros((3, SIDE, SIDE), np.uint16), {"photometric": "rgb"}, "has planes of 16 bits"),
        (np.zeros((SIDE, SIDE), np.int8), {}, "has signed bytes"),
        (np.full((SIDE, SIDE), np.nan, np.float32), {}, "no finite number"),
    ],
    ids=["planes", "signed bytes", "NaN"],
)
def test_what_would_be_misread_is_refused(
    root: Path, values: Array, options: dict[str, Any], says: str
) -> None:
    tiff(root / "a" / "odd.tif", values, **options)
    Image.fromarray(noise(1, SIDE, SIDE)[0]).save(root / "b" / "usual.png")
    with pytest.raises(DataError, match=says):
        read(root)


def test_compressed_planes_of_16_bits_keep_their_upper_8(root: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 65536, (3, SIDE, SIDE)).astype(np.uint16)
    for name in "ab":
        path = root / name / f"{name}.tif"
        tiff(path, planes, photometric="rgb", planarconfig="separate", compression="zlib")
    assert np.array_equal(images_of(root)["a"], planes.transpose(1, 2, 0) >> 8)
    assert "2 TIFF pictures have colours of 16 bits; the upper 8 are read" in decided(read(root))


def stacks(root: Path, pages: int = 3) -> Array:
    """Write two TIFF of several pages, and return them `(2, pages, SIDE, SIDE)`."""
    values = noise(2 * pages, SIDE, SIDE).reshape(2, pages, SIDE, SIDE)
    for name, stack in zip("ab", values, strict=True):
        tiff(root / name / f"{name}.tif", stack, photometric="minisblack")
    return values


def test_of_several_pages_the_first_is_read_and_that_is_a_finding(root: Path) -> None:
    values = stacks(root)
    assert np.array_equal(images_of(root)["a"][..., 0], values[0, 0])
    assert "2 of 2 files hold several pages, up to 3" in findings(read(root))["pages-left-out"]


def test_each_page_may_be_an_example_and_those_of_a_file_stay_together(root: Path) -> None:
    values = stacks(root)
    found = read(root, pictures={"pages": "all"})
    assert np.array_equal(found.images[..., 0], values.reshape(6, SIDE, SIDE))
    assert list(found.names) == [f"{c}/{c}.tif page {i}" for c in "ab" for i in (1, 2, 3)]
    assert found.targets.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.groups is not None and found.groups.tolist() == ["a/a.tif"] * 3 + ["b/b.tif"] * 3
    assert len(set(found.contents.tolist())) == 6
    assert not findings(found)
    assert "pages: each of 6 is an example" in decided(found)


def test_pages_may_be_channels(root: Path) -> None:
    values = stacks(root, pages=5)
    found = images_of(root, pictures={"pages": "channels"})
    assert np.array_equal(found["b"], values[1].transpose(1, 2, 0))
    tiff(root / "b" / "short.tif", values[0, :2], photometric="minisblack")
    with pytest.raises(DataError, match=r"short.tif: has 2 page\(s\), and others have 5"):
        read(root, pictures={"pages": "channels"})


def test_pages_that_are_no_channels_are_refused(root: Path) -> None:
    for name in "ab":
        Image.fromarray(noise(1, SIDE, SIDE)[0]).save(root / name / f"{name}.png")
    with pytest.raises(DataError, match="most files hold one page"):
        read(root, pictures={"pages": "channels"})
    frames = [Image.fromarray(pixels) for pixels in noise(3, SIDE, SIDE, 3)]
    for name in "ab":
        (root / name / f"{name}.png").unlink()
        frames[0].save(root / name / f"{name}.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="channels is for grey pages"):
        read(root, pictures={"pages": "channels"})


def photos(shared_data: Path, count: int = 60) -> list[Path]:
    files = sorted((shared_data / "flowers").glob("*/*.jpg"))
    if not files:
        pytest.skip(f"no photos in {shared_data}")
    return files[:: max(1, len(files) // count)]


@pytest.mark.parametrize("size", [(32, 32), (64, 64), (48, 96)], ids=str)
def test_a_photo_that_is_decoded_at_a_fraction_differs_little(
    shared_data: Path, size: tuple[int, int]
) -> None:
    """Of 575 photos at 32, 64 and 96 pixels the mean was off by 1.6, 1.2 and 1.2, at worst 6.5."""
    fast, full = (Reading(size, False, fast=fast) for fast in (True, False))
    off = np.stack([fast(file).astype(int) - full(file) for file in photos(shared_data)])
    assert 0.2 < np.abs(off).mean() < 2, "and it is not decoded whole"
    assert np.abs(off).mean(axis=(1, 2, 3)).max() < 8
    assert abs(off.mean()) < 0.3
    assert np.quantile(np.abs(off), 0.999) < 30


def test_decoding_whole_photos_is_what_pillow_alone_does(shared_data: Path) -> None:
    for file in photos(shared_data, 10):
        with Image.open(file) as opened:
            wanted = ImageOps.fit(opened.convert("RGB"), (32, 32), Image.Resampling.BILINEAR)
        found = Reading((32, 32), False, fast=False)(file)
        assert np.abs(found.astype(int) - np.asarray(wanted)).max() <= 1


@pytest.mark.parametrize("decode", ["fast", "full"])
def test_that_photos_are_decoded_at_a_fraction_is_said(root: Path, decode: str) -> None:
    for name in "ab":
        Image.fromarray(noise(1, 40, 40, 3)[0]).save(root / name / f"{name}.jpg")
    words = decided(read(root, pictures={"decode": decode}))
    assert ("2 JPEG pictures are decoded at 1/2, 1/4 or 1/8" in words) == (decode == "fast")
    assert "decoding" not in decided(read(root, image_size=32))
