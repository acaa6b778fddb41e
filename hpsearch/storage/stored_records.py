"""Reading what is stored of a study, which another version may have written, or damage changed.

All of it is read here, so that whatever is wrong with one study is one kind of error, which those
who serve or list many studies can pass over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from hpsearch.errors import StudyFileError, UnreadableStudyError
from hpsearch.study.data import Task
from hpsearch.study.file import validated
from hpsearch.study.limits import STORED
from hpsearch.study.spec import StudySpec

LONGEST_REASON = 300  # characters
MALFORMED = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


class _LeftOut(BaseModel):
    reason: str
    names: list[str]
    more: int = Field(ge=0)


class _Account(BaseModel):
    """What became of all that the data's source held; those of before 0.2 have none."""

    found: int
    used: int
    left_out: list[_LeftOut]
    decided: list[str]
    things: str

    @model_validator(mode="after")
    def _adds_up(self) -> _Account:
        if self.used + sum(len(r.names) + r.more for r in self.left_out) != self.found:
            raise ValueError("used and left out are not what was found")
        return self


class _Summary(BaseModel):
    """What reports need of a study's data; more may stand there."""

    model_config = ConfigDict(extra="allow")

    task: Task
    outputs: list[str]
    counts: list[tuple[int, int, int]]
    totals: tuple[int, int, int]
    groups: list[int] = []
    account: _Account | None = None


@contextmanager
def readable(study: str, version: str | None) -> Iterator[None]:
    """Turn what goes wrong while a study is read inside the block into UnreadableStudyError."""
    try:
        yield
    except StudyFileError as error:
        raise UnreadableStudyError(study, version, _short(str(error))) from None
    except MALFORMED as error:
        said = _short(f"{type(error).__name__}: {error}")
        raise UnreadableStudyError(study, version, said) from error


def stored_object(study: str, version: str | None, what: str, text: str) -> dict[str, Any]:
    """Return a mapping that is stored as JSON; UnreadableStudyError names it as `what`."""
    with readable(study, version):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StudyFileError(f"{what} is no JSON: {error}") from None
        if not isinstance(found, dict):
            raise StudyFileError(f"{what} is no mapping")
        return found


def stored_spec(study: str, version: str | None, text: str) -> StudySpec:
    """Return the spec of a study of this name, read with today's defaults, without its limits."""
    written = stored_object(study, version, "its spec", text)
    with readable(study, version):
        spec = validated(StudySpec, written, "its spec", STORED)
        if spec.name != study:  # paths are made of the name, and in a spec it has been checked
            raise StudyFileError(f"its spec is that of study '{spec.name}'")
        return spec


def stored_summary(study: str, version: str | None, text: str) -> dict[str, Any]:
    """Return what is stored of a study's data for reports."""
    written = stored_object(study, version, "what is known of its data", text)
    with readable(study, version):
        if "task" not in written and "classes" in written:
            written = _with_task(written)
        validated(_Summary, written, "what is known of its data")
        return written


def _with_task(written: dict[str, Any]) -> dict[str, Any]:
    """Return what schema version 2 kept of a study's data, single-label, as it is kept since."""
    totals = [sum(part) for part in zip(*written["counts"], strict=True)]
    outputs = {"task": "single-label", "outputs": written["classes"]}
    return outputs | {"counts": written["counts"], "totals": totals, "groups": []}


def _short(reason: str) -> str:
    words = ", ".join(reason.splitlines())
    return words if len(words) <= LONGEST_REASON else words[: LONGEST_REASON - 3] + "..."
