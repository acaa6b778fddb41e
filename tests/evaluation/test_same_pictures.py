"""Two studies of the same pictures: whatever is changed between them, what was seen is known.

Which files lie in validation is found by their pixels, without a hash, and shares by sets of names.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fixtures_storage import on_sqlite
from made_data import noise, write_folder
from made_studies import run_trial, spec_of
from PIL import Image

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources.pictures import decode_image
from hpsearch.evaluation.seal import seal_before
from hpsearch.reports.formats import markdown
from hpsearch.reports.report import make_report
from hpsearch.search.stored_study import enter_study
from hpsearch.storage.storage import Storage
from hpsearch.study.spec import StudySpec

pytestmark = on_sqlite
Change = Callable[[Path], dict[str, Any]]  # of a folder, or of what a study says of its data
CHANGES: dict[str, Change] = {}


def change(function: Change) -> Change:
    CHANGES[function.__name__.strip("_")] = function
    return function


@change
def _another_size(root: Path) -> dict[str, Any]:
    return {"image_size": 8}


@change
def _one_more_picture(root: Path) -> dict[str, Any]:
    Image.fromarray(noise(1, 20, 20, 3, seed=99)[0]).save(root / "cat" / "more.png")
    return {}


@change
def _another_root(root: Path) -> dict[str, Any]:
    shutil.move(root, root.with_name("elsewhere"))
    return {"root": str(root.with_name("elsewhere"))}


@change
def _a_subset(root: Path) -> dict[str, Any]:
    for file in sorted(root.rglob("*.png"))[::3]:
        file.unlink()
    return {}


@change
def _class_folders_renamed(root: Path) -> dict[str, Any]:
    shutil.move(root / "cat", root / "bear")
    return {}


@change
def _one_file_renamed(root: Path) -> dict[str, Any]:
    shutil.move(root / "dog" / "000.png", root / "dog" / "zzz.png")
    return {}


@change
def _another_split_seed(root: Path) -> dict[str, Any]:
    return {"split": {"seed": 1}}


@change
def _all_at_once(root: Path) -> dict[str, Any]:
    _one_more_picture(root)
    _class_folders_renamed(root)
    return _another_root(root) | _another_size(root) | _another_split_seed(root)


def spec_on(name: str, root: Path, more: dict[str, Any] | None = None) -> StudySpec:
    said = {"source": "folder", "root": str(root), "image_size": 16} | (more or {})
    return spec_of(name, data=said)


def sealed_files(spec: StudySpec, prepared: Prepared) -> list[bytes]:
    """Return the content of every file in validation, found by what it looks like."""
    size = spec.data.image_size
    assert spec.data.root is not None and isinstance(size, int)
    files = sorted(Path(spec.data.root).rglob("*.png"))
    pictures = {decode_image(file, size, False).tobytes(): file.read_bytes() for file in files}
    assert len(pictures) == len(files), "no two look the same"
    return [pictures[image.tobytes()] for image in open_sealed(prepared.folder).images]


def entered(storage: Storage, spec: StudySpec) -> Prepared:
    prepared = prepare(spec.data)
    enter_study(storage, spec, prepared)
    run_trial(storage, spec)
    return prepared


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_pictures_are_known_whatever_is_changed(
    storage: Storage, tmp_path: Path, name: str
) -> None:
    root = write_folder(tmp_path / "pets", {"cat": 60, "dog": 60})
    first = spec_on("first", root)
    prepared = entered(storage, first)
    shown = set(sealed_files(first, prepared))
    storage.openings.write("first", prepared.fingerprint, 0, "me", "final choice")
    second = spec_on("second", root, CHANGES[name](root))
    again = prepare(second.data)
    assert again.fingerprint != prepared.fingerprint or name == "another_root"
    before = seal_before(storage, second, again)
    entered(storage, second)
    mine = sealed_files(second, again)
    seen = sum(content in shown for content in mine)
    text = markdown(make_report(storage, "second"))
    assert (before.seen, before.sealed) == (seen, len(mine))
    assert seen > 0, "or nothing is shown by this"
    assert before.needs_asking and "was opened once before: optimistic" in text
    part = f"which showed {seen} of its {len(mine)}"
    assert (part in text) == (seen < len(mine))
    if name in ("another_size", "another_root"):
        assert seen == len(mine)


def test_rows_of_an_array_are_known_at_another_range(storage: Storage, tmp_path: Path) -> None:
    images = noise(120, 12, 12) / np.float32(255)
    np.savez(tmp_path / "a.npz", images=images, targets=np.arange(120) % 2)
    data = {"source": "arrays", "root": str(tmp_path / "a.npz")}
    first = spec_of("first", data=data)
    prepared = entered(storage, first)
    storage.openings.write("first", prepared.fingerprint, 0, "me", "final choice")
    for name, more, share in (("wider", {}, 12), ("other", {"split": {"seed": 5}}, None)):
        spec = spec_of(name, data=data | {"arrays": {"range": [-1, 2]}} | more)
        again = prepare(spec.data)
        assert again.fingerprint != prepared.fingerprint
        rows = [
            {tuple(image.ravel()) for image in open_sealed(p.folder).images}
            for p in (prepared, again)
        ]
        told = {
            tuple(np.rint((i.astype(np.float64) - low) * 255 / (high - low)).astype(int).ravel()): n
            for low, high in ((0, 1), (-1, 2))
            for n, i in enumerate(images)
        }
        (one, two) = ({told[row] for row in part} for part in rows)
        assert share is None or len(one & two) == share
        found = seal_before(storage, spec, again)
        assert (found.seen, found.sealed) == (len(one & two), len(two))
