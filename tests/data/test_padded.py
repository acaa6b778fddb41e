"""Black bars beside pictures of another shape are no part of what is compared with others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import noise, scenes, write_idx_set
from numpy.typing import NDArray
from PIL import Image

from hpsearch.data.copies import find_copies
from hpsearch.data.findings import Audit, read_audit
from hpsearch.data.prepare import SOURCES, prepare
from hpsearch.data.sources.decoded import Decoded
from hpsearch.study.data import Data

COUNT = 40


def bright(height: int, width: int) -> NDArray[np.uint8]:
    """Return different grey pictures without much contrast: against black all are one bright bar.

    The last is the fourth again, a little darker.
    """
    pictures = (200 + scenes(COUNT, height, width, 1)[..., 0] // 16).astype(np.uint8)
    pictures[-1] = (pictures[3] * 0.95).astype(np.uint8)
    return pictures


def written(root: Path, pictures: NDArray[np.uint8]) -> Path:
    for number, pixels in enumerate(pictures):
        folder = root / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number:02}.png")
    return root


def study(root: Path, **options: Any) -> Data:
    wished = {"source": "folder", "image_size": 64, "fit": "pad", "root": str(root)} | options
    return Data(**wished)


def decoded(data: Data, scratch: Path) -> Decoded:
    scratch.mkdir(exist_ok=True)
    assert data.root is not None
    return SOURCES[data.source].decode(data, Path(data.root), scratch, lambda done, of: None)


def audit_of(data: Data) -> Audit:
    return read_audit(prepare(data).folder)


@pytest.mark.parametrize(("height", "width"), [(16, 64), (64, 16)])
def test_padded_pictures_are_copies_by_their_content_alone(
    tmp_path: Path, height: int, width: int
) -> None:
    found = decoded(study(written(tmp_path / "root", bright(height, width))), tmp_path / "scratch")
    names = [Path(name).stem for name in found.names]
    copies = find_copies(found.images, True, found.content)
    assert [{names[row] for row in pair} for pair in copies.pairs] == [{"03", "39"}]
    assert len(find_copies(found.images).pairs) > COUNT, "their bars make most of them alike"


def test_a_padded_picture_of_one_colour_is_blank(tmp_path: Path) -> None:
    pictures = bright(16, 64)
    pictures[5], pictures[9] = 90, 180
    audit = audit_of(study(written(tmp_path, pictures), duplicates="allow"))
    (blank,) = (finding for finding in audit.findings if finding.kind == "blank")
    assert blank.images == 2


def test_pictures_that_fill_their_image_have_no_padding(tmp_path: Path) -> None:
    root = written(tmp_path / "square", bright(32, 32))
    assert decoded(study(root), tmp_path / "scratch").content is None
    wide = written(tmp_path / "wide", bright(16, 64))
    assert decoded(study(wide, fit="squeeze"), tmp_path / "other").content is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_content_of_a_photo_is_where_it_lies_when_it_is_turned(
    tmp_path: Path, orientation: int
) -> None:
    """15 x 40 in 32 x 64: bars of uneven width, which show in which order it is turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    root = tmp_path / "root"
    for kind in ("cat", "dog"):
        (root / kind).mkdir(parents=True)
        Image.fromarray(noise(1, 15, 40)[0] | 1).save(root / kind / "one.png", exif=exif)
    found = decoded(study(root, image_size=(32, 64)), tmp_path / "scratch")
    assert found.content is not None
    lit = np.argwhere(found.images[0, ..., 0])
    (top, left), (bottom, right) = lit.min(axis=0), lit.max(axis=0) + 1
    assert found.content[0].tolist() == [top, bottom, left, right]
    assert (bottom - top < 32) != (right - left < 64)


def test_the_content_of_pages_is_that_of_each(tmp_path: Path) -> None:
    root = tmp_path / "root"
    pages = [Image.fromarray(pixels) for pixels in (noise(1, 16, 64)[0], noise(1, 64, 16)[0])]
    for kind in ("cat", "dog"):
        (root / kind).mkdir(parents=True)
        pages[0].save(root / kind / "two.tif", save_all=True, append_images=pages[1:])
    every = decoded(study(root, pictures={"pages": "all"}), tmp_path / "scratch").content
    assert every is not None and every.tolist() == 2 * [[24, 40, 0, 64], [0, 64, 24, 40]]
    both = decoded(study(root, pictures={"pages": "channels"}), tmp_path / "other").content
    assert both is None, "together they fill it"


def test_content_is_known_where_a_preparation_goes_on_and_where_files_are_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = written(tmp_path / "root", bright(16, 64))
    (root / "cat" / "00.png").write_bytes(b"\x89PNG\r\n\x1a\nnone")
    monkeypatch.setattr("hpsearch.data.sources.decoding.SAVED_EVERY_S", 0.0)
    whole = study(root, on_broken="skip")
    scratch = tmp_path / "scratch"
    scratch.mkdir()

    def killed(done: int, of: int) -> None:
        if done > COUNT // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        SOURCES["folder"].decode(whole, root, scratch, killed)
    assert list(scratch.glob("*.journal"))
    found = decoded(whole, scratch)
    assert found.content is not None
    assert found.content.tolist() == [[24, 40, 0, 64]] * (COUNT - 1)


def test_arrays_and_published_sets_that_are_padded_have_content_too(tmp_path: Path) -> None:
    np.savez(tmp_path / "wide.npz", images=bright(16, 64), targets=np.arange(COUNT) % 2)
    arrays = study(tmp_path / "wide.npz", source="arrays")
    found = decoded(arrays, tmp_path / "scratch").content
    assert found is not None and found.tolist() == [[24, 40, 0, 64]] * COUNT
    made = noise(20, 28, 28), np.arange(20) % 10
    write_idx_set(tmp_path, "mnist", made, made)
    mnist = study(tmp_path, source="mnist", image_size=(28, 56))
    found = decoded(mnist, tmp_path / "other").content
    assert found is not None and found.tolist() == [[0, 28, 14, 42]] * 40


def test_a_photo_that_is_decoded_at_a_fraction_has_the_same_content(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for kind in ("cat", "dog"):
        (root / kind).mkdir(parents=True)
        Image.fromarray(scenes(1, 301, 407, 3)[0]).save(root / kind / "one.jpg")
    one, other = [
        decoded(study(root, pictures={"decode": how}), tmp_path / how).content
        for how in ("fast", "full")
    ]
    assert one is not None and other is not None and np.array_equal(one, other)
