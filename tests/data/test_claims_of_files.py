"""What files claim, and what they are called: checked before it is believed."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_data import noise, write_folder
from PIL import Image

from hpsearch.data.contact_sheet import Tile, write_contact_sheet
from hpsearch.data.prepare import prepare
from hpsearch.data.sources.targets import natural
from hpsearch.errors import DataError
from hpsearch.study.data import Data


def problem(data: Data) -> str:
    with pytest.raises(DataError) as caught:
        prepare(data)
    return str(caught.value)


def npz_with_header(path: Path, header: str) -> Data:
    """Return data of an .npz whose array of images says of itself what `header` says."""
    raw = header.encode().ljust(117) + b"\n"
    head = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(raw)) + raw
    targets = io.BytesIO()
    np.save(targets, np.arange(30) % 3)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("images.npy", head + b"\0" * 640)
        file.writestr("targets.npy", targets.getvalue())
    return Data(source="arrays", root=str(path))


@pytest.mark.parametrize(
    "shape",
    ["(99999999999, 8, 8)", "(30, 9999, 9999)", f"({'9' * 40}, 8)", "(-1, 8, 8)", "(30, 8, 'a')"],
)
def test_an_array_that_claims_more_than_its_file_holds_is_refused(
    tmp_path: Path, shape: str
) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    says = problem(npz_with_header(tmp_path / "a.npz", header))
    assert "is not an .npz file of plain arrays" in says


def test_classes_that_floats_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    targets = np.repeat([1.0, 2.0, 1e19, 4e19], 10)
    np.savez(tmp_path / "a.npz", images=noise(40, 8, 8), targets=targets)
    says = problem(Data(source="arrays", root=str(tmp_path / "a.npz")))
    assert "holds whole numbers above 2^53" in says
    assert "image 20, and 19 more like it" in says


def test_a_label_of_many_digits_is_a_name(tmp_path: Path) -> None:
    assert natural("9" * 5000) > natural("7")
    rows = [f"a word {i},{'9' * 5000 if i % 2 else 'b'}" for i in range(40)]
    (tmp_path / "a.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    prepared = prepare(Data(source="text", root=str(tmp_path / "a.csv")))
    assert sorted(len(name) for name in prepared.outputs) == [1, 5000]


def recordings(root: Path) -> Path:
    for first, name in ((0, "high"), (100, "low")):
        (root / name).mkdir(parents=True)
        for i in range(12):
            wave = np.random.default_rng(first + i).normal(0, 0.1, 4000)
            soundfile.write(root / name / f"{i}.wav", wave, 8000)
    return root


@pytest.mark.parametrize("rate", [767_000_000, 10, 200_000])
def test_a_recording_that_claims_an_absurd_rate_is_named(tmp_path: Path, rate: int) -> None:
    root = recordings(tmp_path / "sounds")
    raw = bytearray((root / "high" / "3.wav").read_bytes())
    raw[24:28] = struct.pack("<I", rate)
    (root / "high" / "3.wav").write_bytes(raw)
    says = problem(Data(source="sound", root=str(root)))
    assert "3.wav: claims " in says and "expected 1,000 to 192,000" in says


@pytest.mark.parametrize("kind", ["wav", "aiff", "au"])
def test_a_recording_that_ends_before_its_sound_does_is_named(tmp_path: Path, kind: str) -> None:
    root = recordings(tmp_path / "sounds")
    whole = root / "high" / f"cut.{kind}"
    soundfile.write(whole, np.random.default_rng(0).normal(0, 0.1, 4000), 8000)
    raw = whole.read_bytes()
    whole.write_bytes(raw[: len(raw) * 6 // 10])
    says = problem(Data(source="sound", root=str(root)))
    assert f"cut.{kind}: is cut off: " in says


def test_a_recording_of_unknown_length_as_streams_write_it_is_read(tmp_path: Path) -> None:
    root = recordings(tmp_path / "sounds")
    raw = bytearray((root / "high" / "3.wav").read_bytes())
    place = raw.index(b"data") + 4
    raw[4:8] = raw[place : place + 4] = b"\xff" * 4
    (root / "high" / "3.wav").write_bytes(raw)
    assert sum(prepare(Data(source="sound", root=str(root))).totals) == 24


@pytest.mark.parametrize("source", ["folder", "sound"])
def test_a_file_whose_name_is_not_utf_8_is_read_like_others(tmp_path: Path, source: str) -> None:
    if source == "folder":
        root, size = write_folder(tmp_path / "x", {"a": 12, "b": 12}), 8
        for name in (
            b"\xff.png",
            b"copy\xfe.png",
        ):  # copies: the audit draws them
            Image.new("RGB", (20, 20), "red").save(root / "a" / "new.png")
            os.replace(root / "a" / "new.png", os.path.join(os.fsencode(root / "a"), name))
    else:
        root, size = recordings(tmp_path / "x"), None
        os.replace(root / "low" / "1.wav", os.path.join(os.fsencode(root / "low"), b"\xff.wav"))
    prepared = prepare(Data(source=source, root=str(root), image_size=size))
    assert len(prepared.outputs) == 2


def test_a_contact_sheet_takes_names_of_any_kind(tmp_path: Path) -> None:
    tiles = [Tile((noise(1, 8, 8, 1)[0],), ("a\x1b[31m\udcff\n",))]
    write_contact_sheet(tmp_path / "sheet.png", "t\udcff\n", tiles)
    assert (tmp_path / "sheet.png").is_file()


@pytest.mark.parametrize("root", ["é" * 300, "a/" * 1500])
def test_a_root_longer_than_a_name_may_be_is_refused(tmp_path: Path, root: str) -> None:
    with pytest.raises(DataError, match=r"a name this long is no file's|does not exist"):
        prepare(Data(source="table", root=root, image_size=8), tmp_path)


def test_a_table_with_a_nul_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"path,label\na\0b.png,x\nc.png,y\n")
    says = problem(Data(source="table", root=str(tmp_path / "a.csv"), image_size=8))
    assert "a.csv" in says
