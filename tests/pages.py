"""README and docs as what a test can read: code blocks, links, headings, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
FENCE = re.compile(r"^```(\w*)$")
MARK = re.compile(r"^<!-- (.+) -->$")


@dataclass(frozen=True)
class Block:
    """A code block: its text, and the word of the HTML comment right before it, `` if none is."""

    page: Path
    line: int
    language: str
    text: str
    mark: str = ""

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str | None:
        return self.mark.removeprefix("not run: ") if self.mark.startswith("not run:") else None

    @property
    def file(self) -> str | None:
        """The file that its first line names: `# my-study.yaml`."""
        named = re.match(r"# ([\w.-]+\.yaml)\n", self.text)
        return named[1] if named else None


def blocks(page: Path) -> list[Block]:
    """Return the code blocks of a page, in order."""
    found: list[Block] = []
    lines = page.read_text(encoding="utf-8").splitlines()
    at = 0
    while at < len(lines):
        fence = FENCE.match(lines[at])
        if fence is None:
            assert not lines[at].startswith("```"), f"{page}:{at + 1}: this fence has no language"
            at += 1
            continue
        end = lines.index("```", at + 1)
        mark = MARK.match(lines[at - 1]) if at else None
        text = "\n".join(lines[at + 1 : end]) + "\n"
        found.append(Block(page, at + 1, fence[1], text, mark[1] if mark else ""))
        at = end + 1
    return found


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[str]:
    """Return the targets of a page's links and pictures."""
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as they are made of them on the web."""
    headings = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def section(page: Path, heading: str) -> str:
    """Return what stands below a heading, up to the next one of any level."""
    text = page.read_text(encoding="utf-8")
    start = re.search(rf"(?m)^#+ {re.escape(heading)}$", text)
    assert start is not None, f"{page} has no heading '{heading}'"
    rest = text[start.end() :]
    end = re.search(r"(?m)^#+ ", re.sub(r"(?ms)^```.*?^```$", lambda m: "." * len(m[0]), rest))
    return rest[: end.start()] if end else rest


def rows(text: str) -> list[list[str]]:
    """Return the cells of every row of the tables in a text, heads left out."""
    found = []
    lines = text.splitlines()
    for i, line in enumerate(lines):
        head = i + 1 < len(lines) and lines[i + 1].startswith("|---")
        if line.startswith("|") and not line.startswith("|---") and not head:
            found.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return found


def code_in(cell: str) -> list[str]:
    """Return what a cell shows as code."""
    return re.findall(r"`([^`]+)`", cell)
