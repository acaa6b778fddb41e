"""Every write of a launch fails once, in turn: of the search, confirmation, final and results."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from faulty import Fault, Launcher, points, told, writes

ENDINGS = {0, 1}  # exit codes of a launch in which a write failed: it went on, or says why not
MISSED = "nothing failed"  # a launch wrote less often than the first: leases are renewed by time
MOST_MISSED = 0.05  # of all faults


@dataclass(frozen=True)
class Begun:
    """A folder in which a launch begins, its writes to the end, and what it comes to."""

    place: Path
    faults: list[Fault]
    told: dict[str, Any]


def undisturbed(launcher: Launcher, place: Path, begins: Path | None) -> Begun:
    """Launch what a folder holds, or a new study, in a copy of it."""
    if begins is not None:
        shutil.copytree(begins, place)
    code, said = launcher.launched(place)
    assert code == 0, said
    return Begun(begins or place.with_name("nothing"), points(place), told(place))


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    started = Launcher()
    yield started
    started.close()


@pytest.fixture(scope="module")
def new(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A study that nobody has launched."""
    return undisturbed(launcher, tmp_path_factory.mktemp("new") / "launched", None)


@pytest.fixture(scope="module")
def searched(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Begun:
    """A study whose search and confirmation are over: its final is due."""
    place = tmp_path_factory.mktemp("searched")
    code, said = launcher.launched(place / "begins", None, "--no-final")
    assert code == 0, said
    return undisturbed(launcher, place / "launched", place / "begins")


def trouble(launcher: Launcher, begun: Begun, place: Path, fault: Fault) -> str:
    """Launch while a write fails, and again in peace; return what is wrong then, or nothing."""
    if begun.place.exists():
        shutil.copytree(begun.place, place)
    code, words = launcher.launched(place, fault)
    said = f"{fault}: {code} {words}"
    if code not in ENDINGS or "Traceback" in words:
        return f"a raw error. {said}"
    if sum(process == fault.process for process, _ in writes(place)) < fault.at:
        return f"{MISSED}. {said}"
    code, words = launcher.launched(place)
    if code != 0:
        return f"not mended: {words}. {said}"
    now = told(place)
    wrong = [f"{k}: {now[k]!r:.2000}" for k in now if now[k] != begun.told[k]]
    return f"{'; '.join(wrong)}. {said}" if wrong else ""


def assert_mended(launcher: Launcher, begun: Begun, place: Path, faults: list[Fault]) -> None:
    assert len(begun.told["finals"]) == 1 and begun.told["finals"][0] is not None
    found = []
    for number, fault in enumerate(faults):
        found.append(trouble(launcher, begun, place / str(number), fault))
        shutil.rmtree(place / str(number))
    missed = [one for one in found if one.startswith(MISSED)]
    assert len(missed) <= MOST_MISSED * len(faults), missed
    assert not [one for one in found if one and one not in missed]


def of(begun: Begun, *processes: str) -> Iterator[Fault]:
    return (fault for fault in begun.faults if fault.process in processes)


def spread(faults: Iterator[Fault], count: int) -> list[Fault]:
    """Return so many of some faults, at equal distances."""
    known = list(faults)
    return [known[(2 * i + 1) * len(known) // (2 * count)] for i in range(count)]


def test_writes_that_fail_in_a_search_are_made_up_for_by_the_next_launch(
    launcher: Launcher, new: Begun, tmp_path: Path
) -> None:
    faults = [*spread(of(new, "launch"), 2), *spread(of(new, "worker"), 1)]
    assert_mended(launcher, new, tmp_path, faults)


def test_writes_that_fail_in_a_final_are_made_up_for_by_the_next_launch(
    launcher: Launcher, searched: Begun, tmp_path: Path
) -> None:
    faults = [*spread(of(searched, "final"), 3), *spread(of(searched, "launch"), 2)]
    assert_mended(launcher, searched, tmp_path, faults)


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_every_write_from_the_first_to_the_end_of_the_confirmation(
    launcher: Launcher, new: Begun, tmp_path: Path
) -> None:
    assert_mended(launcher, new, tmp_path, list(of(new, "launch", "worker")))


@pytest.mark.chaos
@pytest.mark.timeout(4 * 3600)
def test_every_write_of_a_final_and_its_results(
    launcher: Launcher, searched: Begun, tmp_path: Path
) -> None:
    assert_mended(launcher, searched, tmp_path, searched.faults)
