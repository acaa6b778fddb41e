"""Configurations that a study file names to be tried first."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from hpsearch.study.axes import Kind, Value
from hpsearch.study.config import TrialConfig
from hpsearch.study.space import Space
from hpsearch.study.splits import Section

MOST = 100  # configurations of one study


class Candidate(Section):
    """Values of a configuration, and the file, as it was named, that they were read from.

    In a study file it is a path; it stands here with what it held, so that no worker needs it.
    """

    file: str
    values: dict[str, Value]

    @model_validator(mode="before")
    @classmethod
    def _was_read(cls, written: Any) -> Any:
        if isinstance(written, str):
            raise ValueError("a file is read where a study file names it; write its values here")
        if isinstance(written, dict) and "values" not in written:
            return {"file": "search.first", "values": written}
        return written

    @field_validator("values", mode="before")
    @classmethod
    def _are_values(cls, written: Any) -> Any:
        if not isinstance(written, dict):
            raise ValueError("write values, such as {filters: 32, learning_rate: 1e-3}")
        return {name: _kind(str(name)).value(value) for name, value in written.items()}


class Export(BaseModel):
    """What an exported file has to hold, to be tried first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    config: TrialConfig

    def values(self) -> dict[str, Value]:
        """Return the values of its configuration that are axes of a space."""
        found = {name: getattr(self.config, name) for name in Space.model_fields}
        return {name: value for name, value in found.items() if value is not None}


def _kind(name: str) -> Kind:
    """Return what values an axis may have; ValueError where there is no such axis."""
    if name not in Space.model_fields:
        close = get_close_matches(name, Space.model_fields, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "use the names of the space"
        raise ValueError(f"unknown key {name!r}; {hint}")
    return next(m for m in Space.model_fields[name].metadata if isinstance(m, Kind))
