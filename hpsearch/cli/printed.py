"""What commands print when they are done: tables and lines on stdout."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from hpsearch.cli.about_data import say_account, say_epoch, say_remade, say_warnings
from hpsearch.cli.notes import estimate_words, summary
from hpsearch.cli.options import command, safe
from hpsearch.evaluation.seal import Seal, opened_words
from hpsearch.reports.pausing import paused_lines
from hpsearch.reports.report import SHOWN, Report, failure_lines, saved_line, sections
from hpsearch.reports.seal import config_words, result_words, seal_lines
from hpsearch.reports.sections import Table
from hpsearch.reports.tried import tried_lines
from hpsearch.reports.trust import bounds_text
from hpsearch.search.kinds import counted, why_none_completes
from hpsearch.search.plan import words as plan_words
from hpsearch.search.progress import SUPERVISOR, Progress, epochs_of
from hpsearch.study.names import plain
from hpsearch.study.spec import StudySpec
from hpsearch.study.tasks import WORDS, Metric, key_of, shown

if TYPE_CHECKING:
    from hpsearch.data.prepared import Prepared
    from hpsearch.evaluation.exported import Exported
    from hpsearch.preflight.check import Checked
    from hpsearch.preflight.locality import Locality
    from hpsearch.reports.status import Stand, Standing
    from hpsearch.storage.studies import StudyRow
    from hpsearch.storage.worker_registry import ListedWorker

out = Console(highlight=False)

TRACE_LINES = 8
GROUPS_SHOWN = 8
SPLITS = ("train", "test (selects)", "validation (sealed)")


def print_report(report: Report) -> None:
    """Print a report for people."""
    for number, part in enumerate(sections(report)):
        if number:
            out.print()
        out.print(safe(part.title), style="bold")
        for line in part.lines:
            out.print(safe(line))
        if part.table is not None:
            out.print(_table(part.table))


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for i, name in enumerate(table.header):
        drawn.add_column(safe(name), justify="right" if i else "left")
    for row in table.rows:
        drawn.add_row(*(safe(cell) for cell in row))
    return drawn


def print_studies(standing: Standing, storage: str) -> None:
    """Print a line for every study of a storage, why any waits, and who is at work."""
    if not standing.studies and not standing.unreadable:
        out.print(f"{safe(storage)} holds no study yet; start one with: hpsearch launch STUDY.yaml")
        return
    header = ("study", "state", "ended", "running", "ended as", "best test")
    rows: list[tuple[str, ...]] = [
        (
            p.study.spec.name,
            p.state,
            f"{p.finished}/{p.budget}" if p.counts_trials else str(p.finished),
            str(len(p.running)),
            counted(p.ended),
            "-" if p.best is None else shown(p.study.spec.metric, p.best.value or 0.0),
        )
        for p, _ in standing.studies
    ]
    rows += [
        (study.name, "unreadable", *["-"] * (len(header) - 2)) for study in standing.unreadable
    ]
    out.print(_table(Table(header, rows)))
    for study in standing.unreadable:
        out.print(safe(study.why), style="yellow")
    for p, waits in standing.studies:
        if waits is not None:
            out.print(f"{p.study.spec.name} waits: {safe(waits)}", style="yellow")
    _print_workers(standing.workers)
    out.print("More of one: hpsearch status STUDY; its results: hpsearch report STUDY")


def _print_workers(workers: list[ListedWorker]) -> None:
    """Print how many workers each machine has, and what they cannot do."""
    at_work = [worker for worker in workers if worker.device != SUPERVISOR]
    if not at_work:
        return
    hosts = Counter((worker.host, worker.device, worker.version) for worker in at_work)
    for (host, device, version), count in hosts.items():
        out.print(f"{count} worker(s) on {safe(host)}: {safe(device)}, {safe(version)}")
    for note in sorted({f"{w.host}: {w.note}" for w in workers if w.note}):
        out.print(f"  {safe(note)}", style="yellow")


def print_status(stand: Stand) -> None:
    """Print how one study stands."""
    p = stand.progress
    out.print(f"Study [b]{p.study.spec.name}[/b]: {p.state}, {p.ended_words}")
    out.print(summary(p))
    why = why_none_completes(p.study.trials)
    if why is not None and why not in (stand.waits or ""):
        out.print(safe(why), style="yellow")
    if stand.waits is not None:
        out.print(f"It waits: {safe(stand.waits)}", style="yellow")
    if p.interrupted:
        out.print(f"{p.interrupted} interrupted; a worker goes on with them", style="yellow")
    _print_paused(p)
    for trial in p.running:
        out.print(
            f"  trial {trial.number}: epoch {epochs_of(trial)} of {p.study.spec.search.epochs}, "
            f"worker {safe(p.study.record(trial).worker or '?')}"
        )
    for number, seed in p.confirm.running if p.confirm is not None else ():
        out.print(f"  trial {number} again, with new seed {seed} of {p.study.spec.confirm.seeds}")
    if stand.checkpoint_bytes:
        out.print(f"Checkpoints: {stand.checkpoint_bytes / 1e6:,.1f} MB")
    _print_saved(p)
    _print_failures(p)
    for line in seal_lines(stand.report.seal):
        out.print(safe(line))


def _print_saved(p: Progress) -> None:
    """Print what needed no training, by the pruner or for another reason."""
    if p.pruner_waits_for:
        out.print(
            f"The {p.study.spec.search.pruner.name} pruner begins after {p.pruner_waits_for} more "
            "complete trial(s)"
        )
    else:
        out.print(saved_line(p))
    for line in tried_lines(p):
        out.print(safe(line))


def _print_paused(p: Progress) -> None:
    """Print how many trials wait for the scheduler, and what those that came furthest wait for."""
    for number, line in enumerate([p.pausing, *paused_lines(p)] if p.pausing else []):
        out.print(f"  {safe(line)}" if number else line, style="dim" if number else "")


def _print_failures(p: Progress) -> None:
    """Print why trials failed, and where in the code the last one did."""
    failures = failure_lines(p.study)
    if not failures:
        return
    out.print("Failed trials:", style="red")
    for line in failures:
        out.print(f"  {safe(line)}")
    traces = [r.traceback for r in p.study.records.values() if r.traceback is not None]
    if traces:
        out.print("The last traceback (all of them: --json):", style="dim")
        for line in traces[-1].rstrip().splitlines()[-TRACE_LINES:]:
            out.print(f"  {safe(line)}", style="dim")


def print_history(study: StudyRow, seal: Seal) -> None:
    """Print every opening of the validation split of a study's data."""
    name, fingerprint = safe(study.name), safe(study.fingerprint[:12])
    out.print(f"Study [b]{name}[/b], data with fingerprint {fingerprint}")
    for line in seal_lines(seal):
        out.print(safe(line))
    for look in seal.looks:
        opening = look.opening
        when = datetime.fromtimestamp(opening.opened_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        out.print(f"\n{when}  by {safe(opening.who)}", style="bold")
        out.print(f"  study     {safe(opening.study)} ({safe(look.whose)})")
        out.print(f"  trial     {opening.trial_number}{safe(config_words(opening))}")
        out.print(f"  why       {safe(opening.why)}")
        out.print(f"  showed    {look.shown} of {seal.sealed} sealed examples")
        for result in result_words(opening):
            out.print(f"  result    {safe(result)}")


def print_check(spec: StudySpec, checked: Checked, study_file: Path) -> None:
    """Print what a study would train on, and what some of its trials would be."""
    prepared = checked.prepared
    channels, height, width = prepared.image_shape
    out.print(
        f"Study [b]{spec.name}[/b]: {spec.data.source}, images {height} x {width}, "
        f"{channels} channel(s), fingerprint {prepared.fingerprint[:12]}"
    )
    say_remade(prepared)
    say_account(prepared)
    say_epoch(spec, prepared)
    say_warnings(spec)
    for about_data in _data_tables(prepared):
        out.print(_table(about_data))
    for part, names in zip(("train", "test", "validation"), prepared.groups, strict=False):
        named = f" ({safe(', '.join(names))})" if len(names) <= GROUPS_SHOWN else ""
        out.print(f"Groups by {safe(str(spec.data.groups))} in {part}: {len(names)}{named}")
    _print_audit(checked)
    searched = ", ".join(spec.space.searched()) or "nothing: every value is fixed"
    out.print(f"Searched: {safe(searched)}")
    out.print(f"\nThe first {len(checked.samples)} configurations:")
    columns = [config.model_dump() for config, _ in checked.samples]
    listed = [n for n in SHOWN if n != "precision" and any(n in column for column in columns)]
    listed += [n for n in spec.space.searched() if n not in listed]
    table = [(n, *(_short(column.get(n, "")) for column in columns)) for n in listed]
    table.append(("parameters", *(f"{cost.parameters:,}" for _, cost in checked.samples)))
    table.append(
        ("MFLOP per image", *(f"{p.forward_flops / 1e6:,.1f}" for _, p in checked.samples))
    )
    out.print(_table(Table(("", *(str(i) for i in range(len(columns)))), table)))
    for line in checked.refused:
        out.print(safe(line), style="yellow")
    planned, costs = checked.plan, checked.estimate
    said = estimate_words(costs) if planned is None else plan_words(planned)
    for line in said.splitlines():
        out.print(safe(line))
    if checked.seal is not None and (checked.seal.looks or checked.seal.leaks):
        last = [f"{opened_words(checked.seal)}."] if checked.seal.looks else []
        for line in [*last, *seal_lines(checked.seal)]:
            out.print(safe(line), style="yellow")
    if checked.locality is not None:
        _print_locality(checked.locality, spec.metric)
    out.print(safe(f"All is well. Start it with: {command('hpsearch', 'launch', study_file)}"))


def _print_locality(found: Locality, metric: Metric) -> None:
    """Print whether the order of positions means anything to a network."""
    as_it_is, mixed = shown(metric, found.as_it_is), shown(metric, found.shuffled)
    out.print(
        f"Locality: after {found.epochs} epoch(s) test {WORDS[metric]} is {as_it_is}, and {mixed} "
        "with the positions of all images exchanged in the same way"
    )
    if found.matters:
        out.print("  so neighbours belong together, and convolutions have something to go on")
    else:
        out.print(
            f"  which {found.images} test images do not show to be more than chance. Where columns "
            "can be switched around without changing the meaning, convolutions are no good: "
            "compare with gradient-boosted trees or a plain network",
            style="yellow",
        )


def _data_tables(prepared: Prepared) -> list[Table]:
    """Return how many images each split has of what is to be predicted, and how numbers spread."""
    totals = ("all", *(str(n) for n in prepared.totals))
    if prepared.task == "regression":
        parts = Table(("images", *SPLITS), [totals])
        stated = zip(prepared.outputs, prepared.target_mean, prepared.target_std, strict=True)
        spread = [(name, f"{mean:.4g}", f"{std:.4g}") for name, mean, std in stated]
        return [parts, Table(("number", "mean in train", "standard deviation"), spread)]
    rows = [
        (name, *(str(n) for n in counts))
        for name, counts in zip(prepared.outputs, prepared.counts, strict=True)
    ]
    return [
        Table(("class" if prepared.task == "single-label" else "label", *SPLITS), [*rows, totals])
    ]


def _print_audit(checked: Checked) -> None:
    """Print what the audit of the data found, with some examples and what to do about it."""
    if not checked.audit.findings:
        out.print("Audit of the data: no copies, no contradicting labels, no blank images")
        return
    out.print("Audit of the data:")
    for finding in checked.audit.findings:
        out.print(_indented(finding.says, 2, "yellow" if finding.images else "dim"))
        for example in finding.examples:
            out.print(_indented(example, 4, "dim"))
        if finding.sheet is not None:
            sheet = safe(str(checked.prepared.folder / finding.sheet))
            out.print(f"    shown in {sheet}", soft_wrap=True)  # whole, to be copied
        if finding.instead:
            out.print(_indented(finding.instead, 4))


def _indented(line: str, spaces: int, style: str = "") -> Padding:
    return Padding(Text(plain(line), style), (0, 0, 0, spaces))


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def print_training(scores: dict[str, Any], exported: Exported, output: Path | None) -> None:
    """Print what a training came to, beside what was recorded."""
    metric = exported.config.metric
    key = key_of(metric)
    recorded, verdict = scores[f"recorded_test_{key}"], scores["verdict"]
    if scores["test"] is None:
        out.print("trained on train and test, as the exported weights were: no test score is left")
    else:
        bounds = bounds_text(metric, scores["test"]["interval"])
        words = f" (95 % interval {bounds})" if bounds else ""
        out.print(f"test {WORDS[metric]} {scores['test'][key]!r}{words}")
    if recorded is None:
        out.print("the file records no score to compare with")
    elif verdict == "identical":
        out.print(f"identical to the recorded {recorded!r}", style="green")
    elif verdict is not None:
        _print_verdict(scores, recorded)
    if output is not None:
        out.print(safe(f"weights in {output}"))


def _print_verdict(scores: dict[str, Any], recorded: float) -> None:
    """Print what a score that is not the recorded one may come from."""
    because = " and ".join(scores["because"])
    chance = f"trainings may differ by {scores['noise']:.4g} by chance, from {scores['noise_of']}"
    if scores["verdict"] == "within seed noise":
        out.print(f"within seed noise: recorded was {recorded!r}, and {chance}", style="green")
        if because:
            out.print(f"what differs: {safe(because)}", style="yellow")
        return
    unknown = (
        "of nothing that is recorded: another processor, operations that are not deterministic "
        "on this device, or a file that was edited"
    )
    out.print(f"differs, because {safe(because or unknown)}", style="red")
    out.print(f"recorded was {recorded!r}, and {chance}")
