"""Files that are read whole: how much memory that takes, said or refused before it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpsearch.errors import DataError

# Peak of reading over the size of the files, measured on 22 MB of pixels in a CSV (pandas 3.0), and
# 60 MB of pictures in Parquet (pyarrow 26.0) and in tar.
CSV_TIMES, PARQUET_TIMES, TAR_TIMES = 10, 4.5, 1
MUCH = 2**30  # bytes, from where on it is said
AVAILABLE = Path("/proc/meminfo")


def available_bytes() -> int | None:
    """Return how much memory can be had without swapping; None where Linux does not say it."""
    try:
        lines = AVAILABLE.read_text(encoding="ascii").splitlines()
        found = next(line for line in lines if line.startswith("MemAvailable:"))
        return 1024 * int(found.split()[1])
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def memory_words(files: Sequence[Path], times: float, instead: str) -> tuple[str, ...]:
    """Return what is said of files that are read whole, where they take much memory.

    Raises DataError where they take more than there is; `instead` says what takes less.
    """
    held = sum(path.stat().st_size for path in files if path.is_file())
    needed, there = int(times * held), available_bytes()
    which = f"{files[0]}" if len(files) == 1 else f"{files[0]} and {len(files) - 1} more"
    says = f"read whole, which takes about {_gib(needed)} of memory"
    if there is not None and needed > there:
        raise DataError(
            f"{which}: {_gib(held)} that are {says}, and {_gib(there)} are available; {instead}"
        )
    return (f"memory: {which}: {says}",) if needed >= MUCH else ()


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
