"""Arrays and pictures of any type, shape and range are what numpy and tifffile find, scaled."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.sources import arrays, folder
from hpsearch.data.sources.decoded import Decoded
from hpsearch.data.sources.levels import FULL_16_BITS
from hpsearch.errors import DataError
from hpsearch.study.data import Data

WHOLE = ("uint8", "int8", "uint16", "int16", "int32", "int64", "uint32")
FLOATS = ("float16", "float32", "float64")


def told(done: int, of: int) -> None:
    pass


@st.composite
def values_of(draw: st.DrawFn, kinds: tuple[str, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array of a random type whose values lie in a random part of what it can hold."""
    kind = np.dtype(draw(st.sampled_from(kinds)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if kind.kind == "f":
        low = draw(st.floats(-1000, 1000, width=16))
        high = low + draw(st.floats(0.125, 1000, width=16))
        return rng.uniform(low, high, shape).astype(kind)
    ends: np.iinfo[Any] = np.iinfo(kind)
    least, most = max(ends.min, -(2**31)), min(ends.max, 2**31 - 1)
    low = draw(st.integers(least, most - 2))
    high = draw(st.integers(low + 1, min(most, low + draw(st.sampled_from([9, 255, 4095, most])))))
    return rng.integers(low, high, shape, endpoint=True).astype(kind)


def by_hand(values: NDArray[Any], low: float, high: float) -> NDArray[np.float64]:
    """Return grey levels before they are rounded, counted without the code that is tested."""
    return np.clip((np.asarray(values, np.float64) - low) / (high - low), 0, 1) * 255


def near(found: NDArray[np.uint8], exact: NDArray[np.float64]) -> bool:
    """Whether levels are the nearest ones; those that lie halfway may be rounded either way."""
    return bool(np.abs(found - exact).max() <= 0.5 + 1e-6)


shapes = st.one_of(
    st.tuples(st.integers(1, 40)),
    st.tuples(st.integers(2, 9), st.integers(2, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6)),
)


def seem_to_begin_with_channels(one: int, two: int, three: int) -> bool:
    """A few beside a larger picture, or more beside a square or one line."""
    few = one <= 4 and one < two and one < three
    many = one < three and (three == two or (two == 1 and three > 4))
    return few or many


@settings(max_examples=60, deadline=None)
@given(st.data(), shapes, st.sampled_from([None, True, False]), st.booleans())
def test_arrays_are_read_by_their_axes_and_the_stated_range_or_refused(
    data: st.DataObject, shape: tuple[int, ...], first: bool | None, stated: bool
) -> None:
    values = data.draw(values_of(WHOLE + FLOATS, (12, *shape)))
    ends = (float(values.min()), float(values.max()))
    options: dict[str, Any] = {"channels_first": first}
    options |= {"range": ends} if stated and ends[0] < ends[1] else {}
    targets = np.arange(12) % 2
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "a.npz"
        np.savez(path, images=values, targets=targets)
        spec = Data.model_validate({"source": "arrays", "root": str(path), "arrays": options})
        try:
            found = arrays.decode(spec, path, Path(place), told)
        except DataError as error:
            says = str(error)
            usual = (0.0, 1.0) if values.dtype.kind == "f" else (0.0, 255.0)
            beyond = "range" not in options and (ends[0] < usual[0] or ends[1] > usual[1])
            asked = len(shape) == 3 and first is None and seem_to_begin_with_channels(*shape)
            assert ("arrays: {range: [" in says and beyond) or ("channels_first" in says and asked)
            return
        images = np.array(found.images)
    wanted = values.reshape(12, *((1,) if len(shape) == 1 else ()), *shape)
    wanted = wanted if len(shape) == 3 else wanted[..., None]
    if first and len(shape) == 3:
        wanted = np.moveaxis(wanted, 1, 3)
    usual = (0.0, 1.0) if values.dtype.kind == "f" else (0.0, 255.0)
    assert images.shape == wanted.shape
    assert near(images, by_hand(wanted, *options.get("range", usual)))
    assert found.targets.tolist() == targets.tolist()


TIFF_KINDS = ("uint8", "uint16", "int16", "int32", "float32")


def expected_range(
    read: list[NDArray[Any]], stated: tuple[float, float] | None
) -> tuple[float, float]:
    """Return which values become black and white by the rule of the pages."""
    if stated is not None:
        return stated
    low = min(float(values.min()) for values in read)
    high = max(float(values.max()) for values in read)
    most = 1.0 if read[0].dtype.kind == "f" else FULL_16_BITS[1]
    if low >= 0 and most / 2 < high <= most:
        return 0.0, most
    return (low, high) if low < high else (low, low + 1)


def decoded(root: Path, options: dict[str, Any], size: tuple[int, int]) -> Decoded:
    spec = Data.model_validate(
        {"source": "folder", "root": str(root), "image_size": size, "pictures": options}
    )
    return folder.decode(spec, root, root.parent, told)


@settings(max_examples=60, deadline=None)
@given(
    st.data(),
    st.tuples(st.integers(8, 20), st.integers(8, 20)),
    st.sampled_from([">", "<"]),
    st.booleans(),
    st.booleans(),
)
def test_tiff_is_what_tifffile_reads_scaled_by_one_range_for_all(
    data: st.DataObject,
    shape: tuple[int, int],
    order: Literal[">", "<"],
    negative: bool,
    stated: bool,
) -> None:
    kind = data.draw(st.sampled_from(TIFF_KINDS))
    made = [data.draw(values_of((kind,), shape)) for _ in range(3)]
    negative = negative and kind in ("uint8", "uint16") and order == "<"
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        for i, values in enumerate(made):
            path = root / "ab"[i % 2] / f"{i}.tif"
            path.parent.mkdir(parents=True, exist_ok=True)
            photometric = "miniswhite" if negative else "minisblack"
            tifffile.imwrite(path, values, byteorder=order, photometric=photometric)
        read = [tifffile.imread(path) for path in sorted(root.glob("*/*.tif"))]
        ends = min(float(v.min()) for v in read), max(float(v.max()) for v in read)
        options = {"range": (ends[0], ends[0] + (ends[1] - ends[0]) / 2 or 1)} if stated else {}
        if stated and not options["range"][0] < options["range"][1]:
            return
        found = decoded(root, options, shape)
        images = np.array(found.images)
    assert found.account is not None
    black_white = expected_range(read, options.get("range"))
    if kind == "uint8" and not stated:
        black_white = (0.0, 255.0)
    elif kind == "uint8" and negative:
        read = [255 - values for values in read]  # turned over before the range is applied
    for image, values in zip(images[..., 0], read, strict=True):
        wanted = by_hand(values, *black_white)
        turned = negative and not (kind == "uint8" and stated)
        assert near(image, 255 - wanted if turned else wanted)
    if kind != "uint8":
        ends_said = f"{black_white[0]:g} to {black_white[1]:g} become black and white"
        assert ends_said in " ".join(found.account.decided)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"]),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(8, 30), st.integers(8, 30)),
)
def test_pictures_of_any_mode_are_what_pillow_shows_on_white(
    mode: str, seed: int, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(seed)
    picture = Image.fromarray(rng.integers(0, 256, (*shape, 4), np.uint8), "RGBA")
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65536, shape, np.uint16))
    elif mode == "CMYK":
        picture = picture.convert("RGB").convert("CMYK")
    else:
        picture = picture.convert(mode) if mode != "P" else picture.convert("RGB").convert("P")
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "root"
        for name in "ab":
            (root / name).mkdir(parents=True)
            picture.save(root / name / ("a.tif" if mode == "CMYK" else "a.png"))
        options = {"range": [0, 65535]} if mode == "I;16" else {}
        images = np.array(decoded(root, options, shape).images)
    if mode == "I;16":
        wanted = by_hand(np.asarray(picture), 0, 65535)[..., None]
    else:
        pixels = np.asarray(picture.convert("RGBA")).astype(np.float64)
        opaque = pixels[..., 3:] / 255
        wanted = np.rint(pixels[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)
        grey = bool((wanted == wanted[..., :1]).all())
        wanted = wanted[..., :1] if grey else wanted
    assert images.shape == (2, *shape, wanted.shape[-1])
    assert np.abs(images[0].astype(int) - wanted).max() <= 1
    assert np.array_equal(images[0], images[1])
