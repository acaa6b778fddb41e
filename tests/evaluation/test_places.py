"""What a final wrote comes to its place whole, however often that is begun."""

from pathlib import Path

import pytest
from made_records import final_record

from hpsearch.errors import RunsFolderError
from hpsearch.evaluation.places import take_place

MISTAKE = {"image": 0, "is": "cat", "predicted": "dog", "confidence": 0.9}
RESULT = final_record(config={"data": {"source": "digits"}}, mistakes=[MISTAKE])


def test_a_picture_that_was_moved_stays_where_the_weights_could_not_be(tmp_path: Path) -> None:
    place, folder = tmp_path / ".final-1", tmp_path
    place.mkdir()
    for name in ("mistakes.png", "model.safetensors"):
        (place / name).write_text(f"new {name}")
    (folder / "model.safetensors").mkdir()  # no file can be moved there
    with pytest.raises(RunsFolderError, match="launch again"):
        take_place(place, folder, RESULT)
    (folder / "model.safetensors").rmdir()
    take_place(place, folder, RESULT)
    assert {p.name: p.read_text() for p in folder.iterdir()} == {
        name: f"new {name}" for name in ("mistakes.png", "model.safetensors")
    }


def test_pictures_of_an_earlier_final_do_not_stay(tmp_path: Path) -> None:
    place = tmp_path / ".final-1"
    place.mkdir()
    (place / "model.safetensors").write_text("new")
    for name in ("mistakes.png", "residuals.png"):
        (tmp_path / name).write_text("old")
    take_place(place, tmp_path, final_record(config={"data": {"source": "digits"}}))
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]
