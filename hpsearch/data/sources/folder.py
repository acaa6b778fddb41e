"""A folder of class folders with images of any size and mode."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from hpsearch.data.sources.decoded import Decoded, Progress, Source, allocated
from hpsearch.data.sources.resize import square
from hpsearch.errors import DataError
from hpsearch.study.data import Data

GREY_MODES = frozenset({"1", "L", "I;16", "I;16B", "I;16L", "I"})
# What Pillow raises for files that are no images, or broken ones: AVIF and DDS raise RuntimeError,
# damaged EXIF struct.error.
BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)
SPLIT_NAMES = frozenset({"train", "training", "test", "testing", "val", "valid", "validation"})


def _class_folders(root: Path | None) -> list[Path]:
    assert root is not None
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(
            f"data.root: {root} {what}; name the folder that holds one folder of images per class"
        )
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not folders:
        raise DataError(f"{root}: holds no class folders; expected {root}/CLASS/IMAGE.jpg")
    if {p.name.lower() for p in folders} <= SPLIT_NAMES:
        raise DataError(
            f"{root}: its folders are splits ({', '.join(p.name for p in folders)}), not classes; "
            f"name one of them, such as {folders[0]}: hpsearch splits the images itself"
        )
    return folders


def _images(folder: Path) -> list[Path]:
    extensions = Image.registered_extensions()
    found = sorted(
        Path(place) / name
        for place, _, names in os.walk(folder)
        if not any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
        for name in names
        if Path(name).suffix.lower() in extensions and not name.startswith(".")
    )
    if not found:
        raise DataError(f"{folder}: holds no images; add some, or remove the empty class folder")
    return found


def _listing(root: Path | None) -> list[tuple[Path, int]]:
    """Return every image and its class number, in the order of class and file names."""
    return [(p, i) for i, folder in enumerate(_class_folders(root)) for p in _images(folder)]


def stamp(data: Data, root: Path | None) -> str:
    def lines() -> Iterator[str]:
        yield str(root and root.resolve())
        for path, _ in _listing(root):
            status = path.stat()
            yield f"{path.relative_to(root or '.')} {status.st_size} {status.st_mtime_ns}"

    return "\n".join(lines())


def _is_grey(path: Path) -> bool:
    try:
        with Image.open(path) as picture:
            return picture.mode in GREY_MODES
    except BROKEN:
        return True  # broken: it has no say, and is reported when it is decoded


def decode_image(
    path: Path, size: int, grey: bool
) -> np.ndarray[tuple[int, int, int], np.dtype[np.uint8]]:
    """Return one image file as `(size, size, 1 or 3)` in uint8; raises OSError where it is broken.

    Turned as its EXIF orientation says; transparency lies on white; 16-bit grey loses its lower
    8 bits; the centre square is kept.
    """
    with Image.open(path) as opened:
        # JPEG can be decoded at 1/2, 1/4 or 1/8 of its size; twice the wanted size keeps quality.
        opened.draft(None, (2 * size, 2 * size))
        picture = ImageOps.exif_transpose(opened)
        if picture.mode.startswith("I"):
            wide = np.asarray(picture).astype(np.int64)
            picture = Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8))
        if "transparency" in picture.info or picture.mode in ("RGBA", "LA", "PA"):
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        picture = square(picture.convert("L" if grey else "RGB"), size)
        return np.asarray(picture).reshape(size, size, 1 if grey else 3)


def decode(data: Data, root: Path | None, scratch: Path, progress: Progress) -> Decoded:
    listing = _listing(root)
    size = data.image_size
    assert size is not None
    classes = tuple(folder.name for folder in _class_folders(root))
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        grey = all(pool.map(_is_grey, (path for path, _ in listing)))
        shape = (len(listing), size, size, 1 if grey else 3)
        images = allocated(scratch / "decoded.npy", shape)

        def fill(i: int) -> str | None:
            try:
                images[i] = decode_image(listing[i][0], size, grey)
            except BROKEN as error:
                return f"{listing[i][0]}: {error}"
            return None

        broken: list[tuple[int, str]] = []
        for i, problem in enumerate(pool.map(fill, range(len(listing)))):
            if problem is not None:
                broken.append((i, problem))
            progress(i + 1, len(listing))
    if broken and data.on_broken == "error":
        shown = "\n  ".join(problem for _, problem in broken[:5])
        more = f"\n  and {len(broken) - 5} more" if len(broken) > 5 else ""
        raise DataError(
            f"{len(broken)} image(s) cannot be decoded:\n  {shown}{more}\n"
            "Mend or remove them, or leave them out with data.on_broken: skip"
        )
    left_out = {i for i, _ in broken}
    kept = np.array([i for i in range(len(listing)) if i not in left_out], dtype=np.int64)
    targets = np.array([number for _, number in listing], dtype=np.int64)
    skipped = tuple(problem for _, problem in broken)
    names = [str(listing[i][0].relative_to(root or ".")) for i in kept]
    kept_images = images[kept] if broken else images
    return Decoded(kept_images, targets[kept], classes, skipped=skipped, names=names)


SOURCE = Source(stamp, decode)
