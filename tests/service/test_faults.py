"""Every write of a launch fails once, in turn: of the search, confirmation, final and results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faulty import Fault, launched, points, told, writes

AT_ONCE = 2  # studies
ENDINGS = {0, 1}  # exit codes of a launch in which a write failed: it went on, or says why not


@dataclass(frozen=True)
class Begun:
    """A folder in which a launch begins, its writes to the end, and what it comes to."""

    place: Path
    faults: list[Fault]
    told: dict[str, Any]


def undisturbed(place: Path, begins: Path | None) -> Begun:
    """Launch what a folder holds, or a new study, in a copy of it."""
    if begins is not None:
        shutil.copytree(begins, place)
    ended = launched(place)
    assert ended.returncode == 0, ended.stderr
    return Begun(begins or place.with_name("nothing"), points(place), told(place))


@pytest.fixture(scope="module")
def new(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A study that nobody has launched."""
    return undisturbed(tmp_path_factory.mktemp("new") / "launched", None)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A study whose search and confirmation are over: its final is due."""
    place = tmp_path_factory.mktemp("searched")
    ended = launched(place / "begins", None, "--no-final")
    assert ended.returncode == 0, ended.stderr
    return undisturbed(place / "launched", place / "begins")


def trouble(begun: Begun, place: Path, fault: Fault) -> str:
    """Launch while a write fails, and again in peace; return what is wrong then, or nothing."""
    if begun.place.exists():
        shutil.copytree(begun.place, place)
    first = launched(place, fault)
    struck = writes(place)
    said = f"{fault}: {first.returncode} {first.stderr}"
    if first.returncode not in ENDINGS or "Traceback" in first.stderr:
        return f"a raw error. {said}"
    if sum(process == fault.process for process, _ in struck) < fault.at:
        return f"nothing failed. {said}"
    again = launched(place)
    if again.returncode != 0:
        return f"not mended: {again.stderr}. {said}"
    now = told(place)
    wrong = [f"{k}: {now[k]!r:.2000}" for k in now if now[k] != begun.told[k]]
    shutil.rmtree(place)
    return f"{'; '.join(wrong)}. {said}" if wrong else ""


def assert_mended(begun: Begun, place: Path, faults: list[Fault]) -> None:
    assert len(begun.told["finals"]) == 1 and begun.told["finals"][0] is not None
    with ThreadPoolExecutor(AT_ONCE) as pool:
        places = [place / str(number) for number in range(len(faults))]
        found = pool.map(lambda f: trouble(begun, *f), zip(places, faults, strict=True))
    assert not [one for one in found if one]


def of(begun: Begun, *processes: str) -> Iterator[Fault]:
    return (fault for fault in begun.faults if fault.process in processes)


def spread(faults: Iterator[Fault], count: int) -> list[Fault]:
    """Return so many of some faults, at equal distances."""
    known = list(faults)
    return [known[(2 * i + 1) * len(known) // (2 * count)] for i in range(count)]


def test_writes_that_fail_in_a_search_are_made_up_for_by_the_next_launch(
    new: Begun, tmp_path: Path
) -> None:
    faults = [*spread(of(new, "launch"), 2), *spread(of(new, "worker"), 1)]
    assert_mended(new, tmp_path, faults)


def test_writes_that_fail_in_a_final_are_made_up_for_by_the_next_launch(
    searched: Begun, tmp_path: Path
) -> None:
    faults = [*spread(of(searched, "final"), 3), *spread(of(searched, "launch"), 2)]
    assert_mended(searched, tmp_path, faults)


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_every_write_from_the_first_to_the_end_of_the_confirmation(
    new: Begun, tmp_path: Path
) -> None:
    assert_mended(new, tmp_path, list(of(new, "launch", "worker")))


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_every_write_of_a_final_and_its_results(searched: Begun, tmp_path: Path) -> None:
    assert_mended(searched, tmp_path, searched.faults)
