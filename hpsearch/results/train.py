"""Training from an exported file alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpsearch.data.prepare import prepare
from hpsearch.data.sources.decoded import Progress
from hpsearch.errors import DataError
from hpsearch.results.export import Exported
from hpsearch.results.final import train_again
from hpsearch.search.processes import check_device_name, in_child
from hpsearch.study.tasks import key_of


def train_exported(
    exported: Exported,
    data_root: str | Path | None,
    device: str,
    weights: Path | None,
    decoding: Progress,
    epoch: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """Return the scores of an exported configuration trained again on the same data.

    On the same machine, with the same packages and thread count, `identical` is true: the test
    metric is the recorded one to the last digit. Raises DataError where the data is not the same.
    """
    check_device_name(device)
    config = exported.config
    prepared = prepare(config.data, data_root, decoding)
    if prepared.fingerprint != config.data.fingerprint:
        raise DataError(
            f"the data at hand is not the data of this export: fingerprint "
            f"{prepared.fingerprint[:12]}, not {config.data.fingerprint[:12]}; say with --data "
            "where the same images lie"
        )
    scores: dict[str, Any] = in_child(
        train_again, config, prepared.folder, device, weights, threads=config.threads, hear=epoch
    )
    key, recorded = key_of(config.metric), exported.recorded.test_score(config.metric)
    if exported.recorded.state == "complete":
        again = scores["test"][key]
    else:  # it was pruned, and its score is that of its last epoch
        again = scores["curve"][exported.recorded.epochs - 1]["test_metric"]
    return {**scores, f"recorded_test_{key}": recorded, "identical": again == recorded}
