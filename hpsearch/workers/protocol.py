"""What a launch needs of workers, wherever they run."""

from __future__ import annotations

from typing import Protocol


class Workers(Protocol):
    """Workers of one launch: started, looked after, stopped."""

    gave_up: bool  # whether one ended that was not replaced

    def start(self) -> None:
        """Start all workers."""

    def look(self) -> bool:
        """Look after the workers; return whether any is still at work."""

    def stop(self) -> None:
        """Ask all workers to give their trials back, and wait until they have."""
