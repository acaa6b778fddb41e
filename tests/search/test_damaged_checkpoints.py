"""A checkpoint that is not what its training left starts it again, with one warning."""

from __future__ import annotations

import copy
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from made_trainings import CPU, after, config, scores_of, striped
from test_attempt import Hand, attempt

from hpsearch.storage.checkpoints import Checkpoints
from hpsearch.study.config import TrialConfig
from hpsearch.training.loop import Interrupted, train
from hpsearch.training.state import State, from_bytes, to_bytes

MUTATIONS = 120  # of the parts of a state, and as many of its bytes
SETTINGS = {
    "adamw, one-cycle": config(),
    "sgd, cosine": config(optimizer="sgd", schedule="cosine"),
    "plateau, early stopping": config(schedule="plateau", early_stopping=2),
    "averaged weights": config(schedule="warmup-constant", averaging="ema"),
    "step, a metric of all images": config(schedule="step", metric="balanced-accuracy"),
}
EACH = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


def left(settings: TrialConfig, asks: int = 17) -> bytes:
    """Return what an interrupted training leaves, some batches into an epoch."""
    with pytest.raises(Interrupted) as asked:
        list(train(settings, striped(), CPU, after(asks)))
    return to_bytes(asked.value.training.state())


def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where something stands in a state, at any depth."""
    inner = part.items() if isinstance(part, dict) else enumerate(part) if is_row(part) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def is_row(part: Any) -> bool:
    return isinstance(part, list | tuple)


def replaced(part: Any, path: tuple[Any, ...], change: Any) -> Any:
    """Return a state with what stands somewhere changed; a change to `places` removes it."""
    key, *rest = path
    value = change if not rest else replaced(part[key], tuple(rest), change)
    if isinstance(part, dict):
        kept = {k: v for k, v in part.items() if k != key or value is not places}
        return kept if value is places else kept | {key: value}
    row = list(part)
    row[key : key + 1] = [] if value is places else [value]
    return type(part)(row)


def at(part: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        part = part[key]
    return part


def mutated(state: State, rng: random.Random) -> State:
    """Return a state with a part missing, of another kind, or of another shape."""
    path = rng.choice(list(places(state)))
    found = at(state, path)
    others: list[Any] = [places, "word", b"", {}, torch.zeros(3, 5, 7), [None]]
    if isinstance(found, torch.Tensor):
        others += [found[None], found.to(torch.int16), found.tolist()]
    elif isinstance(found, dict):
        others += [found | {"one more": 1}, list(found)]
    elif type(found) in (int, float):
        others += [None, str(found), torch.tensor(found)]
    others = [o for o in others if o is places or type(o) is not type(found) or is_tensor(o)]
    changed: State = replaced(copy.deepcopy(state), path, rng.choice(others))
    return changed


def is_tensor(part: Any) -> bool:
    return isinstance(part, torch.Tensor)


def curve_from(content: bytes, settings: TrialConfig, place: Path) -> list[Any]:
    """Return the curve of a training that finds these bytes kept of it."""
    checkpoints = Checkpoints(str(place), every_s=1e9, keep_free_bytes=0)
    assert checkpoints.save("study", "final", settings, content)
    ended = attempt(place, Hand()).train(settings)
    assert ended is not None and ended.training is not None
    return [scores_of(epoch) for epoch in ended.epochs]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@EACH
def test_a_state_that_fits_is_gone_on_with(
    settings: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [scores_of(epoch) for epoch, _ in train(settings, striped(), CPU)]
    for asks in (0, 3, 17):
        assert curve_from(left(settings, asks), settings, tmp_path) == expected
    for _, training in train(settings, striped(), CPU):
        assert curve_from(to_bytes(training.state()), settings, tmp_path) == expected
    assert warnings(caplog) == []


@EACH
def test_whatever_is_changed_in_a_state_its_training_ends_as_if_undisturbed(
    settings: TrialConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = [scores_of(epoch) for epoch, _ in train(settings, striped(), CPU)]
    state = from_bytes(left(settings), CPU)
    rng = random.Random(1)
    for number in range(MUTATIONS // len(SETTINGS)):
        caplog.clear()
        content = to_bytes(mutated(state, rng))
        assert curve_from(content, settings, tmp_path / str(number)) == expected
        (said,) = warnings(caplog)
        assert "that trial starts again" in said


def test_another_training_of_the_same_slot_starts_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config()
    expected = [scores_of(epoch) for epoch, _ in train(settings, striped(), CPU)]
    for other in (config(filters=4), config(optimizer="sgd"), config(batch_size=8)):
        caplog.clear()
        assert curve_from(left(other), settings, tmp_path / str(other.filters)) == expected
        assert len(warnings(caplog)) == 1


def test_bytes_that_were_changed_start_a_training_again_or_change_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = config()
    expected = [scores_of(epoch) for epoch, _ in train(settings, striped(), CPU)]
    content, rng, refused = left(settings), random.Random(2), 0
    for number in range(MUTATIONS):
        caplog.clear()
        broken = bytearray(content)
        for _ in range(rng.choice([1, 1, 4])):
            start = rng.randrange(len(broken))
            length = rng.choice([1, 1, 16, 4096])
            what = rng.randrange(4)
            if what == 0:
                broken[start : start + length] = rng.randbytes(length)
            elif what == 1:
                del broken[start : start + length]
            elif what == 2:
                broken[start:start] = rng.randbytes(length)
            else:
                del broken[start:]
                broken = broken or bytearray(b"\0")
        assert curve_from(bytes(broken), settings, tmp_path / str(number)) == expected
        assert len(warnings(caplog)) <= 1
        refused += len(warnings(caplog))
    assert refused > MUTATIONS // 2
