"""The seal: who opened a study's validation split, whether it may be opened, and what that means.

All is said of the ledger's record of openings, which outlives the studies that made it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from hpsearch.errors import SealError
from hpsearch.search.ledger import StudyRow
from hpsearch.search.openings import Opening
from hpsearch.search.storage import Storage
from hpsearch.study.tasks import WORDS, Metric, key_of, shown


@dataclass(frozen=True)
class Seal:
    """The openings of one data's validation split, oldest first, as one study sees them.

    `mine` are this study's own since it was made, `deleted` those of studies that are gone, of this
    one's name or another, and `others` those of studies that are still in the storage.
    """

    mine: tuple[Opening, ...] = ()
    deleted: tuple[Opening, ...] = ()
    others: tuple[Opening, ...] = ()

    @property
    def times(self) -> int:
        """How often validation was opened, by anyone."""
        return len(self.mine) + len(self.deleted) + len(self.others)

    @property
    def result(self) -> dict[str, Any] | None:
        """What this study's newest opening that was measured to its end showed."""
        return next((o.result for o in reversed(self.mine) if o.result is not None), None)

    def history(self) -> list[tuple[Opening, str]]:
        """Return every opening, oldest first, and whose it was."""
        whose = [(o, "this study") for o in self.mine]
        whose += [(o, "deleted since") for o in self.deleted]
        whose += [(o, "another study") for o in self.others]
        return sorted(whose, key=lambda pair: pair[0].id)

    def to_go_on_with(self, trial: int, open_again: bool) -> Opening | None:
        """Return the opening whose measurement of a trial did not end, None where one is to begin.

        Raises SealError where that would be a second opening, and `open_again` is not said.
        """
        unfinished = next((o for o in self.mine if o.result is None), None)
        if unfinished is not None and unfinished.trial_number == trial:
            return unfinished
        if open_again or not (self.mine or self.deleted):
            return None
        if unfinished is not None:
            raise SealError(
                f"validation was opened for trial {unfinished.trial_number} and not measured to "
                f"the end; the choice is trial {trial} now. --open-again opens it a second time, "
                "and the report will say so"
            )
        before = (*self.mine, *self.deleted)[-1]
        raise SealError(
            f"validation of this data was opened before, for trial {before.trial_number} of study "
            f"'{before.study}' ('hpsearch audit' shows it; deleting a study does not undo it). "
            "--open-again opens it once more, and every report will say so"
        )


def seal_of(storage: Storage, name: str) -> Seal:
    """Return the openings of a stored study's data."""
    row = storage.ledger.study(name)
    assert row is not None
    made = storage.ledger.made_at()
    kept: dict[str, list[Opening]] = {"mine": [], "deleted": [], "others": []}
    for opening in storage.openings.of(row.fingerprint):
        if opening.opened_at < made.get(opening.study, float("inf")):
            kept["deleted"].append(opening)
        else:
            kept["mine" if opening.study == name else "others"].append(opening)
    return Seal(*(tuple(kept[whose]) for whose in ("mine", "deleted", "others")))


def seal_lines(seal: Seal) -> list[str]:
    """Return in words how often validation was opened, and what that does to its scores."""
    if seal.times == 0:
        return ["Validation is still sealed; a launch without --no-final opens it once."]
    unmeasured = sum(o.result is None for o in seal.mine)
    lines = []
    if seal.times == 1 and seal.mine:
        lines.append("Validation was opened once.")
    else:
        times = "once before" if seal.times == 1 else f"{seal.times} times"
        lines.append(f"Validation was opened {times}: optimistic ({_by_whom(seal)}).")
    if seal.deleted or seal.others:
        lines.append("Choosing between studies by validation makes it a second test split.")
    if unmeasured:
        lines.append(f"{unmeasured} opening(s) of this study were not measured to the end.")
    return lines


def _by_whom(seal: Seal) -> str:
    parts = [f"{len(seal.mine)} by this study"] if seal.mine else []
    for whose, openings in ((" that is deleted", seal.deleted), ("", seal.others)):
        counts = Counter(o.study for o in openings)
        parts += [f"{n} by study '{study}'{whose}" for study, n in counts.items()]
    return ", ".join(parts)


def config_words(opening: Opening) -> str:
    """Return what tells an opening's configuration from others; nothing where it is unknown."""
    config = opening.config or (opening.result or {}).get("config")
    if config is None:
        return ""
    size = config.get("backbone") or f"{config.get('layers')} x {config.get('filters')} filters"
    return (
        f": {config['family']}, {size}, {config['optimizer']} {config['learning_rate']:.3g}, "
        f"seed {config['seed']}"
    )


def result_words(opening: Opening) -> list[str]:
    """Return what an opening showed, a line for each network that it measured."""
    result = opening.result
    if result is None:
        return ["none: the measurement did not end"]
    metric: Metric = (result.get("config") or {}).get("metric", "accuracy")
    lines = [_score_words(metric, result["validation"], "")]
    beside = result.get("baseline")
    if beside is not None and "validation" in beside:
        what = f"default configuration, trial {beside['trial']}: "
        lines.append(_score_words(metric, beside["validation"], what))
    return lines


def _score_words(metric: Metric, scores: dict[str, Any], what: str) -> str:
    bounds = scores.get("interval")
    known = f" (95 % interval {' - '.join(shown(metric, b) for b in bounds)})" if bounds else ""
    return f"{what}validation {WORDS[metric]} {shown(metric, scores[key_of(metric)])}{known}"


def history_json(study: StudyRow, seal: Seal) -> dict[str, Any]:
    """Return the record of openings as plain data for scripts."""
    return {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "openings": [vars(opening) | {"whose": whose} for opening, whose in seal.history()],
    }
