"""COCO's annotations as labels: each category of which a picture shows at least one object.

T.-Y. Lin et al., "Microsoft COCO: Common Objects in Context", 2014; Roboflow exports the same form.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hpsearch.data.sources.columns import Columns
from hpsearch.errors import DataError

PREFIX, ROBOFLOW = "instances_", "_annotations.coco.json"


def annotation_files(root: Path) -> list[tuple[Path, str, str]]:
    """Return the files of annotations below a folder, their pictures' folder, and the part."""
    found = []
    for path in sorted(root.glob(f"annotations/{PREFIX}*.json")):
        part = path.stem.removeprefix(PREFIX)
        above = next((f"{a}{part}" for a in ("", "images/") if (root / a / part).is_dir()), "")
        found.append((path, above, part))
    for path in sorted(root.glob(f"*/{ROBOFLOW}")):
        found.append((path, path.parent.name, path.parent.name))
    return found


def columns_of(path: Path, above: str) -> Columns:
    """Return a row for each picture: its path, and 1 or 0 for each category of the file."""
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        names = {int(c["id"]): str(c["name"]) for c in stated["categories"]}
        rows = {int(image["id"]): i for i, image in enumerate(stated["images"])}
        files = [str(image["file_name"]) for image in stated["images"]]
        shown = [(rows[int(a["image_id"])], int(a["category_id"])) for a in stated["annotations"]]
        flags = {number: np.full(len(files), "0", object) for number in names}
        for row, category in shown:
            flags[category][row] = "1"
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(f"{path}: is not a file of COCO's annotations: {error!r}") from None
    paths = np.array([f"{above}/{name}" if above else name for name in files], object)
    # A category without any object, as Roboflow has one above all others, tells nothing.
    labels = {names[n]: column for n, column in flags.items() if (column == "1").any()}
    return Columns(str(path), "column", files, {"path": paths} | labels)
