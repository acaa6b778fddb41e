"""What became of everything that a source holds: used, or left out and why; what was decided."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

FILE = "left-out.txt"  # beside prepared data: every name, where the output has the first ones
SHOWN = 3  # names of a reason in the output, and in the storage


@dataclass(frozen=True)
class LeftOut:
    """What was left out for one reason, which completes "20 files left out: 10 without ending".

    `names` say which, such as a file and what is wrong with it; `more` counts those whose names are
    not kept here.
    """

    reason: str
    names: tuple[str, ...]
    more: int = 0

    @property
    def count(self) -> int:
        return len(self.names) + self.more

    def shortened(self) -> LeftOut:
        """Return it with its first names, the rest counted."""
        names = self.names[:SHOWN]
        return LeftOut(self.reason, names, self.count - len(names))


@dataclass(frozen=True)
class Account:
    """What a source holds, counted: found = used + left out, whatever was found.

    `found` counts what was seen, independently of what became of it; `used` is the number of
    examples. `decided` are sentences on what one decision did to all, each with its reason, such as
    "sample rate 44100 Hz: that of 79 of 80 recordings; 1 file below it: b.wav". `things` is what is
    counted: files, rows.
    """

    found: int
    used: int
    left_out: tuple[LeftOut, ...] = ()
    decided: tuple[str, ...] = ()
    things: str = "examples"

    def __post_init__(self) -> None:
        lost = sum(reason.count for reason in self.left_out)
        assert self.used + lost == self.found, f"{self.used} used + {lost} left out != {self.found}"

    def without(self, reason: str, names: tuple[str, ...]) -> Account:
        """Return the account with some of what was used left out for one more reason."""
        left_out = (*self.left_out, LeftOut(reason, names)) if names else self.left_out
        return replace(self, used=self.used - len(names), left_out=left_out)

    def deciding(self, *sentences: str) -> Account:
        """Return the account with more that was decided."""
        return replace(self, decided=(*self.decided, *sentences))

    def shortened(self) -> Account:
        """Return the account with the first names of each reason, the rest counted."""
        return replace(self, left_out=tuple(left.shortened() for left in self.left_out))

    def lines(self) -> list[str]:
        """Return it in words: one line where all was used, then a line for each reason."""
        if not self.left_out:
            words = [f"Read: all {self.found:,} {self.things}"]
        else:
            lost = self.found - self.used
            words = [
                f"Read: {self.used:,} of {self.found:,} {self.things}; {lost:,} left out:",
                *(f"  {_reason(left)}" for left in self.left_out),
            ]
        return [*words, *(f"Decided: {sentence}" for sentence in self.decided)]


def _reason(left: LeftOut) -> str:
    shown = ", ".join(left.names[:SHOWN])
    more = left.count - min(SHOWN, len(left.names))
    names = f"{shown} and {more:,} more" if shown and more else shown or "not named"
    return f"{left.count:,} {left.reason}: {names}"


def write_names(folder: Path, account: Account) -> None:
    """Write the names of all that was left out into a folder, by reason; no file where none was."""
    if not account.left_out:
        return
    lines = [
        line
        for left in account.left_out
        for line in (f"{left.count} {left.reason}:", *(f"  {name}" for name in left.names))
    ]
    text = "\n".join(lines) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8", errors="surrogateescape")


def account_json(account: Account) -> dict[str, Any]:
    """Return an account as plain data, from which `account_from` makes it again."""
    return asdict(account)


def account_from(kept: dict[str, Any]) -> Account:
    """Return the account of plain data, which was checked where it was read."""
    left_out = tuple(
        LeftOut(reason["reason"], tuple(reason["names"]), reason["more"])
        for reason in kept["left_out"]
    )
    decided = tuple(kept["decided"])
    return Account(kept["found"], kept["used"], left_out, decided, kept["things"])
