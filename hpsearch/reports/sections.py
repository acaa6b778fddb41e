"""What reports are made of, on screen and in Markdown alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column is text, the others stand right."""

    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Section:
    """A part of the report: a title, some lines, a table and a picture where there is one."""

    title: str
    lines: list[str] = field(default_factory=list)
    table: Table | None = None
    picture: str | None = None  # the file beside the report
