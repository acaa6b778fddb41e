"""Where the files of a final lie, and how they come there: whole, once it is measured."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from hpsearch.errors import RunsFolderError
from hpsearch.evaluation.final_order import MODEL
from hpsearch.storage.final_record import FinalRecord

SHEET = "mistakes.png"
PLOT = "residuals.png"
PICTURES = (SHEET, PLOT)


def pictures_of(result: FinalRecord) -> set[str]:
    """Return the names of the pictures that a final with this result has drawn."""
    if result.config.task == "regression":
        return {PLOT}
    return {SHEET} if result.mistakes and result.config.data.source != "text" else set()


def take_place(place: Path, folder: Path, result: FinalRecord) -> None:
    """Move what a final wrote to where it belongs; pictures of an earlier final do not stay.

    The weights come last. Begun again after that failed, it leaves what was moved where it is.
    """
    drawn = pictures_of(result)
    try:
        for name in (*PICTURES, MODEL):
            written = place / name
            if written.exists():
                with written.open("rb") as file:
                    os.fsync(file.fileno())
                written.replace(folder / name)
            elif name in PICTURES and name not in drawn:
                (folder / name).unlink(missing_ok=True)
    except FileNotFoundError:
        return  # whoever took over has moved them
    except OSError as error:
        raise RunsFolderError(
            f"{folder}: cannot be written: {error.strerror}; free space or mend it, and launch "
            "again"
        ) from None
    shutil.rmtree(place, ignore_errors=True)


def sha256_of(path: Path) -> str:
    """Return the digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
