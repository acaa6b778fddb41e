"""The picture of a regression's residuals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpsearch.errors import RunsFolderError
from hpsearch.evaluation.residuals import COLUMNS, INCHES, MOST, write_residuals


def drawn(folder: Path, numbers: int) -> tuple[int, int]:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(50, numbers))
    names = [f"number {i}" for i in range(numbers)]
    write_residuals(folder / "residuals.png", names, true + 0.1, true)
    with Image.open(folder / "residuals.png") as picture:
        assert len(set(picture.convert("L").resize((64, 64)).tobytes())) > 1, "nothing is drawn"
        return picture.size


@pytest.mark.parametrize(("numbers", "columns", "rows"), [(1, 1, 1), (4, 3, 2), (40, 3, 4)])
def test_every_number_has_a_panel_up_to_a_page_of_them(
    tmp_path: Path, numbers: int, columns: int, rows: int
) -> None:
    width, height = drawn(tmp_path, numbers)
    assert width / height == pytest.approx(columns / rows, rel=0.02)
    assert columns <= COLUMNS and min(numbers, MOST) <= columns * rows
    assert width == pytest.approx(100 * INCHES * columns, rel=0.02)


@pytest.mark.parametrize("name", ["$\\frac{1$", "a $x$ b", "price $", "a\x1b[1m\nb", "x" * 10_000])
def test_a_name_above_a_panel_is_drawn_as_it_is_read(tmp_path: Path, name: str) -> None:
    true = np.arange(10.0)[:, None]
    write_residuals(tmp_path / "named.png", [name], true, true)
    write_residuals(tmp_path / "plain.png", ["number 0"], true, true)
    with Image.open(tmp_path / "named.png") as named, Image.open(tmp_path / "plain.png") as other:
        assert named.size == other.size
        assert named.convert("L").tobytes() != other.convert("L").tobytes()


def test_a_folder_that_is_gone_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(RunsFolderError, match="choose another folder"):
        drawn(tmp_path / "gone", 1)
