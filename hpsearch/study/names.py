"""Names that others chose - of classes, labels, files, machines - as they can be shown safely.

A name may hold what a terminal obeys (escape sequences), what turns a line around (bidirectional
marks), half a character (a file name that is not UTF-8), or what Markdown and HTML take for their
own. Every report, table, note and error goes through one of these where it leaves.
"""

from __future__ import annotations

import re
import unicodedata

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"  # folders and prefixes are called after a study

# Controls, formats, halves of characters, and separators of lines and paragraphs.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")  # wide ones, too
_JOINERS = frozenset("\u200c\u200d")  # real words and pictures need them, and they hide nothing
_HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def plain(text: str, lines: bool = False) -> str:
    """Return text with everything that is no sign to be seen written out, as `\\x1b` or `\\n`.

    With `lines` the line ends in it stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        sign if _is_seen(sign) or (lines and sign == "\n") else _written_out(sign) for sign in text
    )


def _is_seen(sign: str) -> bool:
    return sign in _JOINERS or unicodedata.category(sign) not in _OBEYED


def _written_out(sign: str) -> str:
    return sign.encode("unicode_escape").decode("ascii")


LONGEST_SHOWN = 200  # signs of a name in an error


def shortened(text: str) -> str:
    """Return text for an error, its end left out where it is too long to be a name."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 3]}..."


def with_short_words(text: str) -> str:
    """Return text for a terminal, the middle left out of words that are too long to be names."""

    def shorter(word: re.Match[str]) -> str:
        return f"{word[0][:LONGEST_SHOWN]}...{word[0][-LONGEST_SHOWN // 4 :]}"

    return re.sub(rf"\S{{{2 * LONGEST_SHOWN},}}", shorter, text)


def can_be_stored(text: str) -> bool:
    """Return whether a database holds such a name: Postgres no zero, neither half a character."""
    return not any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in text)


def in_spreadsheet(text: str) -> str:
    """Return text for a cell of a CSV file, on one line, that a spreadsheet takes for no formula.

    An apostrophe stands before what would begin one (OWASP, "CSV Injection").
    """
    shown = plain(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def in_markdown(text: str) -> str:
    """Return text for a line of Markdown: on one line, without HTML, links and pictures."""
    shown = plain(text).translate(_HTML)
    return re.sub(r"\](?=[(\[:])", r"\\]", shown).replace("`", "\\`")


def in_markdown_cell(text: str) -> str:
    """Return text for a cell of a Markdown table, which it cannot end."""
    shown = in_markdown(text.replace("\\", "\\\\"))
    return shown.replace("|", "\\|")
