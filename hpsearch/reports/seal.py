"""What a seal is called: the same words and figures for report, audit, status and scripts."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hpsearch.errors import UnreadableOpeningError
from hpsearch.evaluation.seal import ANOTHER, CONTINUED, DELETED, Seal
from hpsearch.storage.final_record import Scores
from hpsearch.storage.openings import Opening
from hpsearch.storage.studies import StudyRow
from hpsearch.study.tasks import WORDS, Metric, shown


def seal_lines(seal: Seal) -> list[str]:
    """Return in words how often validation was opened, and what that does to its scores."""
    lines = []
    if seal.times == 0:
        lines.append("Validation is still sealed; a launch without --no-final opens it once.")
    elif seal.times == 1 and seal.mine:
        optimistic = ": optimistic" if seal.leaks else ""
        lines.append(f"Validation was opened once{optimistic}.")
    else:
        times = "once before" if seal.times == 1 else f"{seal.times} times"
        lines.append(f"Validation was opened {times}: optimistic ({_by_whom(seal)}).")
    if seal.before and seal.seen < seal.sealed:
        lines.append(
            f"Other studies have seen {_share(seal.seen, seal.sealed)} of its examples; a picture "
            "is the same at any size, under any name."
        )
    if seal.of(DELETED, ANOTHER):
        lines.append("Choosing between studies by validation makes it a second test split.")
    lines += [
        f"Leak: {_share(leak.examples, seal.sealed)} of the sealed examples taught or selected in "
        f"study '{leak.study}', from which this one goes on: optimistic."
        for leak in seal.leaks
    ]
    if seal.needs_asking:
        lines.append("The final of this study has to be asked for with --open-again.")
    return lines + _unsaid(seal)


def _unsaid(seal: Seal) -> list[str]:
    """Return in words what openings left out of the record."""
    lines = []
    unmeasured = sum(not o.measured for o in seal.mine)
    if unmeasured:
        lines.append(f"{unmeasured} opening(s) of this study were not measured to the end.")
    whole = sum(o.examples is None for o in seal.before)
    if whole:
        lines.append(
            f"{whole} opening(s) by others did not record which examples they showed (an earlier "
            "version made them), and count as all."
        )
    if seal.unknown:
        lines.append(
            f"{seal.unknown} opening(s) of other data did not record their examples (an earlier "
            "version made them): whether any of these were among them is not known."
        )
    return lines


def _share(some: int, of: int) -> str:
    """Return a share in words; what is not all is never called 100 %, nor what is some 0 %."""
    percent = 100 * some / max(1, of)
    shown = f"{percent:.0f} %" if 1 <= percent <= 99 or some in (0, of) else f"{percent:.2g} %"
    if percent > 99 and some < of:
        shown = "more than 99 %"
    return f"{some} of {of} ({shown})"


def _by_whom(seal: Seal) -> str:
    parts = [f"{len(seal.mine)} by this study"] if seal.mine else []
    for whose, words in (
        (CONTINUED, ", which this one continues"),
        (DELETED, " that is deleted"),
        (ANOTHER, ""),
    ):
        looks = [look for look in seal.looks if look.whose == whose]
        for (study, seen), n in Counter((k.opening.study, k.shown) for k in looks).items():
            part = "" if seen == seal.sealed else f", which showed {seen} of its {seal.sealed}"
            parts.append(f"{n} by study '{study}'{words}{part}")
    return ", ".join(parts)


def config_words(opening: Opening) -> str:
    """Return what tells an opening's configuration from others; nothing where it is unknown."""
    try:
        config = opening.config or (opening.result.config if opening.result else None)
    except UnreadableOpeningError:
        return ""  # `result_words` says so
    if config is None or config.family is None:
        return ""
    size = config.backbone or f"{config.layers} x {config.filters} filters"
    rate = config.learning_rate or 0.0
    return f": {config.family}, {size}, {config.optimizer} {rate:.3g}, seed {config.seed}"


def result_words(opening: Opening) -> list[str]:
    """Return what an opening showed, a line for each network that it measured."""
    try:
        result = opening.result
    except UnreadableOpeningError as error:
        return [str(error)]
    if result is None:
        return ["none: the measurement did not end"]
    metric, beside = result.config.metric, result.baseline
    lines = [_score_words(metric, result.validation, "")]
    if beside is not None and beside.validation is not None:
        what = f"default configuration, trial {beside.trial}: "
        lines.append(_score_words(metric, beside.validation, what))
    return lines


def _score_words(metric: Metric, scores: Scores, what: str) -> str:
    bounds = scores.interval
    known = f" (95 % interval {' - '.join(shown(metric, b) for b in bounds)})" if bounds else ""
    return f"{what}validation {WORDS[metric]} {shown(metric, scores.of(metric))}{known}"


def seal_json(seal: Seal) -> dict[str, Any]:
    """Return what `seal_lines` says as plain data for scripts."""
    return {
        "seal": seal_lines(seal),
        "openings": len(seal.mine),
        "openings_by_others": len(seal.before),
        "openings_in_all": seal.times,
        "sealed_examples": seal.sealed,
        "seen_by_others": seal.seen,
        "leaks": [vars(leak) for leak in seal.leaks],
        "looks": [
            {
                "study": look.opening.study,
                "trial": look.opening.trial_number,
                "opened_at": look.opening.opened_at,
                "whose": look.whose,
                "shown": look.shown,
            }
            for look in seal.looks
        ],
    }


def history_json(study: StudyRow, seal: Seal) -> dict[str, Any]:
    """Return the record of openings as plain data for scripts."""
    return {
        "study": study.name,
        "fingerprint": study.fingerprint,
        "openings": [
            look.opening.as_json() | {"whose": look.whose, "shown": look.shown}
            for look in seal.looks
        ],
    } | {key: value for key, value in seal_json(seal).items() if key not in ("openings", "looks")}
