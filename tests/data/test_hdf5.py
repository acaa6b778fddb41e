"""HDF5 files as arrays: named data sets, read where they are needed. Pinned on h5py 3.16."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from made_data import noise
from numpy.typing import NDArray

from hpsearch.data.prepare import prepare
from hpsearch.data.prepared import Prepared, load_search_data
from hpsearch.data.sealed import open_sealed
from hpsearch.data.sources import arrays
from hpsearch.data.sources.stacked import Stacked
from hpsearch.errors import DataError
from hpsearch.study.data import Data

CLASSES = np.arange(60) % 2
PARTS = {"train": slice(0, 36), "valid": slice(36, 48), "test": slice(48, 60)}


def written(path: Path, /, **sets: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, values in sets.items():
            file.create_dataset(name.replace("__", "/"), data=values)
    return path


def prepared_from(path: Path, **options: Any) -> Prepared:
    return prepare(Data(source="arrays", root=str(path), **{"duplicates": "allow", **options}))


def of_each(part: Any) -> dict[bytes, Any]:
    return dict(zip([i.tobytes() for i in part.images], part.targets.tolist(), strict=True))


def everything(prepared: Prepared) -> dict[bytes, Any]:
    data = load_search_data(prepared.folder)
    return of_each(data.train) | of_each(data.test) | of_each(open_sealed(prepared.folder))


def expected(images: NDArray[np.uint8], targets: Any) -> dict[bytes, Any]:
    return {image.tobytes(): target for image, target in zip(images, targets, strict=True)}


@pytest.mark.parametrize("ending", ["h5", "hdf5"])
def test_named_data_sets_are_images_targets_and_groups(tmp_path: Path, ending: str) -> None:
    images = noise(60, 6, 9, 3)
    scanners = [f"scanner {i // 6}" for i in range(60)]
    path = written(tmp_path / f"scans.{ending}", set__images=images, set__kind=CLASSES,
                   scanner=np.array(scanners, object))  # fmt: skip
    prepared = prepared_from(path, input="set/images", target="set/kind", groups="scanner")
    assert prepared.image_shape == (3, 6, 9) and everything(prepared) == expected(images, CLASSES)
    assert sorted(name for part in prepared.groups for name in part) == sorted(set(scanners))


def pcam(folder: Path, images: NDArray[np.uint8]) -> dict[str, str]:
    """Write what PCam publishes, in small: `x` and `y` in files of their own, in three parts."""
    for part, rows in PARTS.items():
        stem = f"camelyonpatch_level_2_split_{part}"
        x = images[rows]
        with h5py.File(folder / f"{stem}_x.h5", "w") as file:
            file.create_dataset("x", data=x, chunks=(5, 9, 9, 3), compression="gzip")
        written(folder / f"{stem}_y.h5", y=CLASSES[rows].reshape(-1, 1, 1, 1).astype(np.uint8))
    ours = {"train": "train", "test": "valid", "validation": "test"}
    return {o: str(folder / f"camelyonpatch_level_2_split_{t}_x.h5") for o, t in ours.items()}


def test_the_files_of_pcam_are_parts_whose_labels_lie_beside_them(tmp_path: Path) -> None:
    images = noise(60, 9, 9, 3)
    data = Data(source="arrays", roots=pcam(tmp_path, images), input="x", target="y",
                duplicates="allow")  # fmt: skip
    prepared = prepare(data)
    assert prepared.totals == (36, 12, 12) and prepared.outputs == ("0", "1")
    assert everything(prepared) == expected(images, CLASSES)
    sealed = open_sealed(prepared.folder)
    assert of_each(sealed) == expected(images[48:], CLASSES[48:])
    assert of_each(load_search_data(prepared.folder).test) == expected(images[36:48], CLASSES[:12])
    said = " ".join(prepared.account.decided)
    assert "'y' lies in camelyonpatch_level_2_split_train_y.h5" in said
    other = written(tmp_path / "camelyonpatch_level_2_split_test_y.h5", y=1 - CLASSES[48:])
    assert other.is_file()
    assert everything(prepare(data)) == expected(
        images, np.concatenate([CLASSES[:48], 1 - CLASSES[48:]])
    ), "the files beside are looked at for changes, too"


def test_npz_files_of_parts_have_roots_as_well(tmp_path: Path) -> None:
    images, roots = noise(60, 8, 8), {}
    for part, theirs in {"train": "train", "test": "valid", "validation": "test"}.items():
        rows = PARTS[theirs]
        np.savez(tmp_path / f"{part}.npz", images=images[rows], targets=CLASSES[rows])
        roots[part] = str(tmp_path / f"{part}.npz")
    prepared = prepare(Data(source="arrays", roots=roots, duplicates="allow"))
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == expected(images, CLASSES)
    np.savez(roots["test"], images=noise(12, 9, 9), targets=CLASSES[:12])
    with pytest.raises(DataError, match=r"images .*of 9 x 9 in uint8.* of 8 x 8 in uint8"):
        prepare(Data(source="arrays", roots=roots))


def test_parts_of_one_file_are_its_data_sets(tmp_path: Path) -> None:
    images = noise(60, 8, 8)
    sets = {f"x_{part}": images[rows] for part, rows in PARTS.items()}
    labels = {f"y_{part}": CLASSES[rows] for part, rows in PARTS.items()}
    prepared = prepared_from(written(tmp_path / "all.h5", **sets, **labels))
    assert prepared.totals == (36, 12, 12)
    assert everything(prepared) == expected(images, CLASSES)


def test_images_are_read_in_portions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = noise(60, 8, 8, 3)
    monkeypatch.setattr(arrays, "AT_ONCE", 7 * 8 * 8 * 3)
    most = 0
    whole = Stacked.__getitem__

    def counted(self: Stacked, rows: slice) -> NDArray[Any]:
        nonlocal most
        found = whole(self, rows)
        most = max(most, len(found) if found.ndim == 4 else 0)
        return found

    monkeypatch.setattr(Stacked, "__getitem__", counted)
    path = written(tmp_path / "a.h5", images=images, targets=CLASSES)
    assert everything(prepared_from(path)) == expected(images, CLASSES)
    assert most == 7


def test_floats_axes_and_ranges_are_those_of_arrays(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 60 * 3 * 8 * 9).reshape(60, 3, 8, 9).astype(np.float32)
    path = written(tmp_path / "a.h5", images=values, targets=CLASSES)
    with pytest.raises(DataError, match="values lie between -1 and 1"):
        prepared_from(path, arrays={"channels_first": True})
    prepared = prepared_from(path, arrays={"channels_first": True, "range": [-1, 1]})
    levels = np.rint((values.astype(float) + 1) * 127.5).astype(np.uint8).transpose(0, 2, 3, 1)
    assert everything(prepared) == expected(levels, CLASSES)
    values[[3, 50], 0, 0, 0] = np.nan
    written(path, images=values, targets=CLASSES)
    with pytest.raises(DataError, match=r"2 image\(s\) hold values that are no finite number"):
        prepared_from(path, arrays={"channels_first": True, "range": [-1, 1]})


def test_the_same_values_are_the_same_data_in_an_npz(tmp_path: Path) -> None:
    images = noise(60, 8, 8)
    np.savez(tmp_path / "a.npz", images=images, targets=CLASSES)
    hdf5 = prepared_from(written(tmp_path / "a.h5", images=images, targets=CLASSES))
    assert hdf5.fingerprint == prepared_from(tmp_path / "a.npz").fingerprint
    assert sorted(hdf5.contents.searched) == sorted(  # type: ignore[union-attr]
        prepared_from(tmp_path / "a.npz").contents.searched  # type: ignore[union-attr]
    )


def test_what_is_wrong_with_a_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def problem(path: Path, **options: Any) -> str:
        with pytest.raises(DataError) as caught:
            prepared_from(path, **options)
        return str(caught.value)

    path = written(tmp_path / "a.h5", images=noise(60, 8, 8), targets=CLASSES, set__z=CLASSES)
    assert "there is no data set 'label'; it has 'images', 'set/z', 'targets'" in problem(
        path, target="label"
    )
    assert "there is no data set 'set'" in problem(path, target="set")
    assert "the first axis of both counts the images" in problem(
        written(tmp_path / "b.h5", images=noise(60, 8, 8), targets=CLASSES[:50])
    )
    (tmp_path / "c.h5").write_bytes(path.read_bytes()[:1000])
    assert "is not a whole HDF5 file" in problem(tmp_path / "c.h5")
    (tmp_path / "d.h5").write_text("<html>404</html>")
    assert "is not a whole HDF5 file" in problem(tmp_path / "d.h5")
    with h5py.File(tmp_path / "e.h5", "w") as file:
        file.create_dataset("images", (10**9, 64, 64), "u1", chunks=(1, 64, 64))
        file["targets"] = CLASSES
    assert "claims the shape (1000000000, 64, 64)" in problem(tmp_path / "e.h5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    written_before = tmp_path / "f.h5"
    written_before.write_bytes(path.read_bytes())
    assert "install hpsearch[hdf5]" in problem(written_before)
