"""The residuals of a regression as a picture: where errors grow, lean or stray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from numpy.typing import NDArray

from hpsearch.errors import RunsFolderError
from hpsearch.study.names import plain

COLUMNS = 3
MOST = 12  # numbers that are drawn
INCHES = 3.6  # the side of a panel
LONGEST_NAME = 40  # signs above a panel; a longer title would leave no room for it


def _shown(name: str) -> str:
    name = plain(name)
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def write_residuals(
    path: Path, names: Sequence[str], predictions: NDArray[Any], true: NDArray[Any]
) -> None:
    """Draw predicted minus true over true, one panel for each number; both are `(N, numbers)`.

    The first `MOST` numbers are drawn. Raises RunsFolderError where the file cannot be written.
    """
    shown = names[:MOST]
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = Figure(figsize=(INCHES * columns, INCHES * rows), layout="constrained")
    figure.suptitle("Residuals on validation")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for i, (panel, name) in enumerate(zip(panels, shown, strict=False)):
        panel.axhline(0, color="0.5", linewidth=1)
        panel.scatter(true[:, i], predictions[:, i] - true[:, i], s=12, alpha=0.5, linewidths=0)
        panel.set(xlabel="true", ylabel="predicted minus true")
        panel.set_title(_shown(name), parse_math=False)  # `$` is a sign like any other
    for panel in panels:  # what is left of the last row
        panel.set_axis_off()
    try:
        figure.savefig(path)
    except OSError as error:
        raise RunsFolderError(
            f"{path}: cannot be written: {error.strerror}; free space or choose another folder"
        ) from None
