"""Arrays that are published in parts: `train_images` and `test_images`, `x_train` and `x_test`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hpsearch.data.sources.published import role_of
from hpsearch.study.data import Data

INPUTS = ("images", "x", "X", "data")  # what they are called where the study does not say
TARGETS = ("targets", "labels", "y", "Y", "label")


@dataclass(frozen=True)
class ArrayParts:
    """The arrays of each part, by the name that a study knows them by: its own or the usual one."""

    parts: tuple[str, ...]
    arrays: dict[str, tuple[str, ...]]


def array_parts(names: Iterable[str], data: Data) -> ArrayParts | None:
    """Return which arrays of a file are parts of what the study asks for; None where none are."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        for part, base in (name.split("_", 1), name.rsplit("_", 1)[::-1]) if "_" in name else ():
            if role_of(part) is not None:
                found.setdefault(base, {})[part] = name
                break
    if data.input_name() in names:
        return None
    asked = (data.input_name(),) if data.input else INPUTS
    of_input = next((usual for usual in asked if len(found.get(usual, ())) > 1), None)
    if of_input is None:
        return None
    parts = tuple(found[of_input])
    arrays = {data.input_name(): tuple(found[of_input][part] for part in parts)}
    for target in data.target_names():
        usual = [target] if data.target else TARGETS
        of = next((name for name in usual if found.get(name, {}).keys() >= set(parts)), None)
        if of is not None:
            arrays[target] = tuple(found[of][part] for part in parts)
    if data.groups is not None and found.get(data.groups, {}).keys() >= set(parts):
        arrays[data.groups] = tuple(found[data.groups][part] for part in parts)
    return ArrayParts(parts, arrays)
