"""What the audit of prepared data found, kept beside it; no image is read to tell it again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

FILE = "audit.json"


@dataclass(frozen=True)
class Finding:
    """One thing to know of the data: how many images, in words, and what can be done about it.

    `examples` are some of them, a line each, `sheet` a contact sheet of them beside the data.
    Images that are sealed are counted, and neither named nor shown.
    """

    kind: str
    images: int
    says: str
    instead: str
    examples: tuple[str, ...] = ()
    sheet: str | None = None


@dataclass(frozen=True)
class Audit:
    """All findings, and how many images there are, have a copy, and were moved into train."""

    images: int
    with_copy: int
    moved_from_test: int
    moved_from_validation: int
    findings: tuple[Finding, ...]


def write_audit(folder: Path, audit: Audit) -> None:
    """Keep an audit in the folder of its data."""
    (folder / FILE).write_text(json.dumps(asdict(audit), indent=1), encoding="utf-8")


def read_audit(folder: Path) -> Audit:
    """Return the audit of the prepared data in a folder."""
    kept = json.loads((folder / FILE).read_text(encoding="utf-8"))
    found = [Finding(**f | {"examples": tuple(f["examples"])}) for f in kept["findings"]]
    return Audit(**kept | {"findings": tuple(found)})
