"""What is said of data on stderr before anything is trained on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from hpsearch.cli.options import safe
from hpsearch.data.account import FILE
from hpsearch.data.findings import read_audit
from hpsearch.study.spec import StudySpec

if TYPE_CHECKING:
    from hpsearch.data.prepared import Prepared

err = Console(stderr=True, highlight=False, soft_wrap=True)  # one: a live picture moves below it


def say_remade(prepared: Prepared) -> None:
    """Say that the data had to be prepared anew, and why."""
    if prepared.remade is not None:
        err.print(f"{safe(prepared.remade)}: it was made anew now", style="yellow")


def say_account(prepared: Prepared) -> None:
    """Say what became of everything that the source holds, and where all names stand."""
    account = prepared.account
    for line in account.lines():
        err.print(safe(line), style="yellow" if account.left_out else "")
    if account.left_out != account.shortened().left_out:
        err.print(f"  all names: {safe(str(prepared.folder / FILE))}", style="dim")


def say_warnings(spec: StudySpec) -> None:
    """Say what a study asks for that can have no effect."""
    for warning in spec.warnings():
        err.print(f"warning: {safe(warning)}", style="yellow")


def say_epoch(spec: StudySpec, prepared: Prepared) -> None:
    """Say how many images an epoch has, where the study says that it has not all of them."""
    wanted, train = spec.search.epoch_images, prepared.totals[0]
    if wanted is None:
        return
    if wanted > train:
        err.print(
            f"warning: search.epoch_images: {wanted:,} are more than the {train:,} training "
            "images; an epoch is a pass over all of them",
            style="yellow",
        )
    elif wanted < train:
        err.print(f"An epoch has {wanted:,} of {train:,} training images")


def say_audit(prepared: Prepared) -> None:
    """Say what is odd in the data, a line each; 'check' shows it."""
    stated = [finding for finding in read_audit(prepared.folder).findings if finding.images]
    for finding in stated:
        err.print(f"data: {safe(finding.says)}", style="yellow")
    if stated:
        err.print("data: 'hpsearch check' shows which images, and what to do", style="dim")
