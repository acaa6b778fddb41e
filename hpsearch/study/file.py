"""Reading and writing YAML: the study file and the exported configuration."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hpsearch.errors import StudyFileError
from hpsearch.study.first import Export
from hpsearch.study.spec import StudySpec
from hpsearch.study.written import MOST_BYTES, Mapping, NotYaml, read_text

Model = TypeVar("Model", bound=BaseModel)

MOST_LINES = 20  # mistakes shown of one file
MOST_SHOWN = 100  # characters of a value that is wrong
LONGEST_MESSAGE = 400  # characters of one mistake
_BRANCHES = {"literal['official']", "float"}  # what pydantic calls the parts of a union


def read_study(path: str | Path, budget: dict[str, Any] | None = None) -> StudySpec:
    """Return the study that a YAML file describes; StudyFileError says where it is wrong.

    A `budget` from the command line stands in the place of the same keys of `search`; one of None
    takes a key away.
    """
    written = read_yaml(path)
    _read_candidates(written, Path(path))
    spec = validated(StudySpec, written, str(path))
    if budget:
        search = dict(written.get("search") or {}) | budget
        search = {key: value for key, value in search.items() if value is not None}
        spec = validated(StudySpec, {**written, "search": search}, "the command line")
    spec.data.found_beside(str(Path(path).absolute().parent))
    return spec


def _read_candidates(written: dict[str, Any], path: Path) -> None:
    """Put the values of files that `search.first` names in their place."""
    search = written.get("search")
    first = search.get("first") if isinstance(search, dict) else None
    if not isinstance(first, list):
        return  # whatever is wrong with it is said where the whole file is validated
    for i, named in enumerate(first):
        if not isinstance(named, str):
            continue
        try:
            found = path.absolute().parent / named
            export = validated(Export, read_yaml(found), str(found))
        except StudyFileError as error:
            row = _row(written, ["search", "first"])
            raise StudyFileError(
                f"{path}:{row}: search.first: {error}; name a file that 'hpsearch export' wrote"
            ) from None
        first[i] = {"file": named, "values": export.values()}


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping of a YAML 1.2 file (`1e-3` is a number, `on` is a word)."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        text = content.decode()
    except FileNotFoundError:
        raise StudyFileError(f"{path}: there is no such file{_similar_files(Path(path))}") from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise StudyFileError(
            f"{path}: this is not a text file; expected YAML in UTF-8, which line {line} is not"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise StudyFileError(f"{path}: cannot be read: {reason}") from None
    if len(content) > MOST_BYTES:
        raise StudyFileError(
            f"{path}: is larger than {MOST_BYTES // 1024} KiB, the most that a study file may be"
        )
    try:
        written = read_text(text)
    except NotYaml as error:
        raise StudyFileError(f"{path}:{error.line}: not valid YAML: {error.problem}") from None
    if not isinstance(written, dict):
        raise StudyFileError(f"{path}: expected a mapping that begins with 'name: ...'")
    return written


def _similar_files(path: Path) -> str:
    folder = path.parent
    names = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / close[0]}?" if close else ""


def validated(
    model: type[Model], written: dict[str, Any], where: str, context: dict[str, Any] | None = None
) -> Model:
    """Return `written` as a `model`; every problem is one line: file, line, key, what instead.

    `context` is pydantic's: `limits.STORED` reads without upper limits.
    """
    try:
        return model.model_validate(written, context=context)
    except ValidationError as error:
        found = error.errors(include_url=False)
        lines = [_line(model, written, where, detail) for detail in found[:MOST_LINES]]
        if len(found) > MOST_LINES:
            lines.append(f"{where}: and {len(found) - MOST_LINES} more mistakes like these")
        raise StudyFileError("\n".join(lines)) from None


def _line(model: type[BaseModel], written: Any, where: str, detail: ErrorDetails) -> str:
    loc = [part for part in detail["loc"] if part not in _BRANCHES]
    key = _short(".".join(str(part) for part in loc))
    message = detail["msg"].removeprefix("Value error, ")
    # A rule about several keys names the one to change first, in its words.
    row = _row(written, loc or [*message.partition(":")[0].split(".")])
    place = f"{where}:{row}" if row else where
    given = _short(repr(detail["input"]))
    if detail["type"] == "extra_forbidden":
        parent = ".".join(map(str, loc[:-1]))
        known = _known_keys(model, loc[:-1])
        close = get_close_matches(_short(str(loc[-1])), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        unknown = _short(str(loc[-1]))
        return f"{place}: {parent + ': ' if parent else ''}unknown key '{unknown}'; {hint}"
    if detail["type"] == "missing":
        return f"{place}: {key} is missing"
    if detail["type"] == "literal_error":
        allowed = str(detail["ctx"]["expected"])
        options = [word.strip(" '") for word in allowed.replace(" or ", ",").split(",")]
        close = get_close_matches(_short(str(detail["input"])), options, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"use {allowed}"
        message = f"unknown value {given}; {hint}"
    elif detail["type"] == "string_pattern_mismatch":
        message = (
            f"{given} must begin with a letter or digit, and may hold letters, digits, '.', '_' "
            "and '-' only"
        )
    elif not message.startswith(repr(detail["input"])) and detail["type"] != "value_error":
        message = f"{given}: {message[:1].lower()}{message[1:]}"
    return f"{place}: {key}: {_clipped(message)}" if key else f"{place}: {_clipped(message)}"


def _short(text: str) -> str:
    """Return what somebody wrote, the end of it left out where it would fill a screen."""
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def _clipped(message: str) -> str:
    """Return a message, its middle left out where a value in it is long; its end is the advice."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    return f"{message[: LONGEST_MESSAGE // 2]} ... {message[-LONGEST_MESSAGE // 2 :]}"


def _known_keys(model: type[BaseModel], path: list[int | str]) -> list[str]:
    """Return the keys of the section at `path`."""
    for part in path:
        annotation = model.model_fields[str(part)].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(model.model_fields)


def _row(written: Any, loc: list[int | str]) -> int | None:
    """Return the line, counted from 1, on which the key at `loc` stands, where that is known."""
    row = None
    for part in loc:
        if not isinstance(written, Mapping) or part not in written:
            break
        row = written.lines[part]
        written = written[part]
    return row
