"""Reading and writing YAML: the study file and the exported configuration."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from hpsearch.errors import StudyFileError
from hpsearch.study.spec import StudySpec

Model = TypeVar("Model", bound=BaseModel)


def read_study(path: str | Path) -> StudySpec:
    """Return the study that a YAML file describes; StudyFileError says where it is wrong."""
    return validated(StudySpec, read_yaml(path), str(path))


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping of a YAML 1.2 file (`1e-3` is a number, `on` is a word)."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise StudyFileError(f"{path}: there is no such file{_similar_files(Path(path))}") from None
    except UnicodeDecodeError:
        raise StudyFileError(f"{path}: this is not a text file; expected YAML in UTF-8") from None
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        written = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise StudyFileError(f"{path}{line}: not valid YAML: {error.problem}") from None
    except YAMLError as error:
        raise StudyFileError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(written, dict):
        raise StudyFileError(f"{path}: expected a mapping that begins with 'name: ...'")
    return written


def _similar_files(path: Path) -> str:
    folder = path.parent
    names = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    close = get_close_matches(path.name, names, n=1)
    return f"; did you mean {folder / close[0]}?" if close else ""


def validated(model: type[Model], written: dict[str, Any], where: str) -> Model:
    """Return `written` as a `model`; every problem is one line: file, line, key, what instead."""
    try:
        return model.model_validate(written)
    except ValidationError as error:
        lines = [_line(model, written, where, detail) for detail in error.errors()]
        raise StudyFileError("\n".join(lines)) from None


def _line(model: type[BaseModel], written: Any, where: str, detail: ErrorDetails) -> str:
    loc = [part for part in detail["loc"] if part not in {"literal['official']", "float"}]
    key = ".".join(str(part) for part in loc)
    message = detail["msg"].removeprefix("Value error, ")
    # A rule about several keys names the one to change first, in its words.
    row = _row(written, loc or [*message.partition(":")[0].split(".")])
    place = f"{where}:{row}" if row else where
    if detail["type"] == "extra_forbidden":
        parent = ".".join(map(str, loc[:-1]))
        known = _known_keys(model, loc[:-1])
        close = get_close_matches(str(loc[-1]), known, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known keys: {', '.join(known)}"
        return f"{place}: {parent + ': ' if parent else ''}unknown key '{loc[-1]}'; {hint}"
    if detail["type"] == "missing":
        return f"{place}: {key} is missing"
    if detail["type"] == "literal_error":
        allowed = str(detail["ctx"]["expected"])
        options = [word.strip(" '") for word in allowed.replace(" or ", ",").split(",")]
        close = get_close_matches(str(detail["input"]), options, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"use {allowed}"
        message = f"unknown value {detail['input']!r}; {hint}"
    elif detail["type"] == "string_pattern_mismatch":
        message = f"{detail['input']!r} may hold letters, digits, '.', '_' and '-' only"
    elif not message.startswith(repr(detail["input"])) and detail["type"] != "value_error":
        message = f"{detail['input']!r}: {message[:1].lower()}{message[1:]}"
    return f"{place}: {key}: {message}" if key else f"{place}: {message}"


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
        marks = getattr(written, "lc", None)
        if not isinstance(written, dict) or part not in written:
            break
        if marks is not None and part in (marks.data or {}):
            row = marks.data[part][0] + 1
        written = written[part]
    return row
