"""Where a training begins to overfit; torch is not needed to tell."""

from __future__ import annotations

from collections.abc import Sequence

TURN_EPOCHS = 3  # without lower test loss; fewer are often chance, and a report need not hurry


def turning_point(
    train_losses: Sequence[float], test_losses: Sequence[float], later_epochs: int = TURN_EPOCHS
) -> int | None:
    """Return the epoch, counted from 1, after which test loss turned away from train loss.

    It is the first epoch with the lowest test loss, if at least `later_epochs` epochs came after it
    and the last of them has a lower train loss than it: the network still learns train, and test
    gains nothing by it. None where test loss fell to the end, where it is too early to tell, and
    where train loss does not fall either (a rate too high, not overfitting).
    """
    if not test_losses:
        return None
    lowest = min(range(len(test_losses)), key=lambda i: test_losses[i])
    waited = len(test_losses) - 1 - lowest
    if waited < later_epochs or not train_losses[-1] < train_losses[lowest]:
        return None
    return lowest + 1
