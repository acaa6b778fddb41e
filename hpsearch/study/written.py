"""What stands in a YAML file: text, numbers, switches, lists and mappings, and nothing else.

The file is read event by event and built here: a YAML library's own constructor makes dates, sets
and objects of what only looks like them, follows names inside names without an end, and breaks in
its own words. Every bound is named where it is met.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)
from ruamel.yaml.reader import ReaderError

MOST_BYTES = 2**16  # of a file; the reader takes a second for that many of its dearest kind
DEEPEST = 16  # lists and mappings inside each other; a study needs 4
MOST_VALUES = 10_000  # a part that is named once (&) counts wherever it is used (*)
LONGEST_NUMBER = 100  # digits; Python reads no more than 4,300, and no limit of ours has 20

_INT = re.compile(r"[-+]?[0-9][0-9_]*|0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_TEXT = re.compile("[\0\ud800-\udfff]")  # escapes can name what no file, path or database holds
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_TEXT = "tag:yaml.org,2002:str"
# Tags that only repeat what a value is.
_PLAIN_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "bool", "null")}
# What ruamel's scanner raises beside its own errors: an escape above \U0010FFFF is a ValueError, a
# broken directive an AttributeError or a TypeError; the long fuzzing test looks for more.
_OF_THE_SCANNER = (ValueError, TypeError, AttributeError, LookupError, OverflowError)


class NotYaml(Exception):
    """A text is not YAML, or not what a study file may be; `line` counts from 1."""

    def __init__(self, problem: str, line: int) -> None:
        super().__init__(problem)
        self.problem, self.line = problem, line


class Mapping(dict[Any, Any]):
    """A mapping that knows the line, counted from 1, on which each of its keys stands."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: dict[Hashable, int] = {}


@dataclass
class _Open:
    """A list or a mapping that has not ended yet, and how many values are in it so far."""

    holds: list[Any] | Mapping
    anchor: str | None
    line: int
    values: int = 1
    key: Any = None
    has_key: bool = False
    merged: list[Mapping] = field(default_factory=list)


class _Builder:
    """Builds the one value of a document from its events."""

    def __init__(self) -> None:
        self.root: Any = None
        self._open: list[_Open] = []
        self._named: dict[str, tuple[Any, int]] = {}  # values, and how many are in each
        self._documents = 0
        self.line = 1  # of the last event

    def take(self, event: Any) -> None:
        line = self.line = event.start_mark.line + 1
        match event:
            case DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise NotYaml("a second document begins here; keep one in a file", line)
            case MappingStartEvent() | SequenceStartEvent():
                self._begin(event, line)
            case MappingEndEvent() | SequenceEndEvent():
                self._end()
            case AliasEvent():
                self._alias(str(event.anchor), line)
            case ScalarEvent():
                value = _scalar(event, line)
                self._name(event.anchor, value, 1)
                self._put(value, 1, line, plain=event.style is None)

    def _begin(self, event: MappingStartEvent | SequenceStartEvent, line: int) -> None:
        if event.tag is not None and not event.implicit:
            tag = str(event.tag)
            if tag not in ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "!"):
                raise NotYaml(f"the tag {_short(tag)} means nothing here; leave it out", line)
        if len(self._open) >= DEEPEST:
            raise NotYaml(f"lists and mappings lie more than {DEEPEST} deep in each other", line)
        if self._open and isinstance(self._open[-1].holds, Mapping) and not self._open[-1].has_key:
            raise NotYaml("a list or a mapping cannot be a key; use a word", line)
        holds: list[Any] | Mapping = Mapping() if isinstance(event, MappingStartEvent) else []
        anchor = None if event.anchor is None else str(event.anchor)
        self._named.pop(anchor or "", None)  # the name means this part from here on
        self._open.append(_Open(holds, anchor, line))

    def _end(self) -> None:
        part = self._open.pop()
        for mapping in part.merged:  # the keys that stand there themselves come first
            assert isinstance(part.holds, Mapping)
            for key in mapping.keys() - part.holds.keys():
                part.holds[key] = mapping[key]
                part.holds.lines[key] = mapping.lines[key]
        self._name(part.anchor, part.holds, part.values)
        self._put(part.holds, part.values, part.line)

    def _alias(self, name: str, line: int) -> None:
        if any(part.anchor == name for part in self._open) and name not in self._named:
            raise NotYaml(f"*{_short(name)} stands inside what it names", line)
        if name not in self._named:
            raise NotYaml(f"*{_short(name)} is used, and no &{_short(name)} stands before it", line)
        self._put(*self._named[name], line)

    def _name(self, anchor: object, value: Any, values: int) -> None:
        if anchor is not None:
            self._named[str(anchor)] = (value, values)

    def _put(self, value: Any, values: int, line: int, plain: bool = False) -> None:
        """Put a value where it belongs: into the document, a list, or a mapping as key or value."""
        if not self._open:
            self.root = value
            return
        part = self._open[-1]
        part.values += values
        if sum(part.values for part in self._open) > MOST_VALUES:
            raise NotYaml(
                f"there are more than {MOST_VALUES:,} values up to here, each part that is named "
                "once (&) counted wherever it is used (*)",
                line,
            )
        if isinstance(part.holds, list):
            part.holds.append(value)
        elif part.has_key:
            part.has_key = False
            if part.key is _MERGE:
                part.merged += _merged(value, line)
            else:
                part.holds[part.key] = value
        else:
            self._key(part, part.holds, value, line, plain)

    def _key(self, part: _Open, holds: Mapping, key: Any, line: int, plain: bool) -> None:
        if isinstance(key, list | dict):
            raise NotYaml("a list or a mapping cannot be a key; use a word", line)
        if key in holds.lines:
            raise NotYaml(f"found duplicate key {_short(repr(key))}; keep one of them", line)
        part.key, part.has_key = (_MERGE if plain and key == "<<" else key), True
        if part.key is not _MERGE:
            holds.lines[key] = line


_MERGE = object()  # the key <<, which takes over the keys of other mappings


def _merged(value: Any, line: int) -> list[Mapping]:
    """Return the mappings that a merge key names."""
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, Mapping) for one in several):
        raise NotYaml("<< takes over a mapping, or a list of them; this is none", line)
    return several


def _scalar(event: ScalarEvent, line: int) -> Any:
    """Return a value as YAML 1.2 reads it: `1e-3` is a number, `on` and `2024-02-30` are words."""
    tag = None if event.tag is None else str(event.tag)
    if _NO_TEXT.search(event.value):
        raise NotYaml("half a character, or a NUL, stands in a text; leave it out", line)
    if tag in (_TEXT, "!") or (tag is None and event.style is not None):
        return event.value
    if tag is not None and tag not in _PLAIN_TAGS:
        raise NotYaml(f"the tag {_short(tag)} means nothing here; leave it out", line)
    written: str = event.value
    if written in _WORDS:
        return _WORDS[written]
    is_int, is_float = _INT.fullmatch(written), _FLOAT.fullmatch(written)
    if not is_int and not is_float:
        return written
    if len(written) > LONGEST_NUMBER:
        raise NotYaml(
            f"{_short(written)} is a number of {len(written):,} digits; {LONGEST_NUMBER} are the "
            "most",
            line,
        )
    try:
        if is_int:
            base = {"0b": 2, "0o": 8, "0x": 16}.get(written[:2], 10)
            return int(written, base)
        return float(written)
    except ValueError:  # 1__0
        return written


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def read_text(text: str) -> Any:
    """Return the one value that a YAML 1.2 text holds; None where it is empty.

    Mappings are `Mapping`. Raises NotYaml with what is wrong and the line.
    """
    builder = _Builder()
    reader = YAML(typ="safe", pure=True)
    try:
        for event in reader.parse(text):
            builder.take(event)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else builder.line
        raise NotYaml(_short_problem(error.problem or error.context), line) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotYaml(f"the character {error.character!r} is not allowed", line) from None
    except (YAMLError, *_OF_THE_SCANNER, RecursionError) as error:
        raise NotYaml(_short_problem(error), builder.line) from None
    return builder.root


def _short_problem(problem: object) -> str:
    words = " ".join(str(problem).split())
    return words if len(words) <= 200 else f"{words[:197]}..."
