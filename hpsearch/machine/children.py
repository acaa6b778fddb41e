"""Child processes: what they may use, the environment they start in, and calls into them."""

from __future__ import annotations

import ctypes
import getpass
import importlib
import logging
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from hpsearch.errors import HpsearchError, ProcessDiedError, WorkerError
from hpsearch.study.names import shortened

# glibc gives each large buffer back to the kernel and faults it in again at the next step; kept,
# training is 1.1 to 2 times as fast.
MALLOC_SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": "4294967296",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}

SPAWN = multiprocessing.get_context("spawn")
OURS = "hpsearch "  # begins the names of the processes that are started here
UNGUARDED = 75  # the exit code of one that found itself importing a script that starts others
_STARTING = threading.RLock()  # the environment is the whole process's: one start at a time


def cores() -> int:
    """Return how many processors this process may use, a container's quota included."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        if quota != "max":
            usable = min(usable or 1, max(1, int(quota) // int(period)))
    except (OSError, ValueError):
        pass
    return max(1, usable or 1)


def user_name() -> str:
    """Return who runs this process; a container's user may have a number and no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid()) if hasattr(os, "getuid") else "somebody"


def gpus() -> int:
    """Return how many NVIDIA GPUs this process may use; torch is not loaded to find out."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


@contextmanager
def child_environment(
    threads: int, deaf_to: tuple[signal.Signals, ...] = (signal.SIGINT,)
) -> Iterator[None]:
    """Set what a training process needs in its environment before it starts, and put it back.

    The one place for thread counts and allocator settings. A child started inside never sees
    the signals it is `deaf_to`, not even while it still imports: Ctrl-C reaches the whole
    terminal, and its parent answers.
    """
    wanted = {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "256",
        **MALLOC_SETTINGS,
    }
    check_guarded()
    with _STARTING:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        mask = None
        if hasattr(signal, "pthread_sigmask"):  # children inherit it; ours wait meanwhile
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, deaf_to)
        try:
            yield
        finally:
            if mask is not None:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def check_guarded() -> None:
    """Raise WorkerError in a process that imports a script again which was not made for that.

    Fresh processes import the main script of their parent, and one that calls us outside of
    `if __name__ == "__main__":` would start processes in each of them. One of ours ends at once
    with a code by which its parent knows, so that it is said once.
    """
    process = multiprocessing.current_process()
    if getattr(process, "_inheriting", False):  # as multiprocessing itself asks, to say the same
        if process.name.startswith(OURS):
            leave(UNGUARDED)
        raise unguarded()


def unguarded() -> WorkerError:
    """Return the error that says to guard the main script."""
    script = getattr(sys.modules["__main__"], "__file__", None) or "the script"
    return WorkerError(
        f"{script} starts hpsearch wherever it is imported, and every process of hpsearch imports "
        "it; put what it does under: if __name__ == '__main__':"
    )


@contextmanager
def interrupts_noted() -> Iterator[Callable[[], bool]]:
    """Note the first Ctrl-C or SIGTERM, for the block to ask about at a safe point.

    Raised anywhere, KeyboardInterrupt would hit a database call half done. The second one is
    raised at once. In another thread than the main one, signals are left alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    noted = False

    def note(_number: int, _frame: object) -> None:
        nonlocal noted
        if noted:
            raise KeyboardInterrupt
        noted = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


STOP_GRACE_S = 8.0  # that a child has to stop in: of the 10 that `docker stop` leaves
LISTEN_S = 0.25  # to a child, between looks at whether to go on
DEVICE_NAMES = re.compile(r"auto|cpu|mps|cuda(:\d+)?")


def check_device_name(name: str) -> None:
    """Raise WorkerError where no device can have this name; torch is not loaded for it."""
    if not DEVICE_NAMES.fullmatch(name):
        raise WorkerError(
            f"--device: unknown device '{shortened(name)}'; use auto, cpu, cuda, cuda:1 or mps"
        )


def is_processor(device: str) -> bool:
    """Whether the device of a name is this machine's processor; torch is not loaded to find out."""
    return device == "cpu" or (device == "auto" and not gpus())


def device_named(name: str, number: int = 0) -> Any:
    """Return torch's device of a name, the best one at hand for `auto`.

    Without an index, several workers share the GPUs in turn, by their `number`.
    """
    import torch

    from hpsearch.training.precision import best_device

    device = best_device() if name == "auto" else torch.device(name)
    if device.type == "cuda" and device.index is None and torch.cuda.is_available():
        return torch.device("cuda", number % torch.cuda.device_count())
    here = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not here[device.type] or (device.index or 0) >= max(1, torch.cuda.device_count()):
        raise WorkerError(f"device '{name}' is not there; this machine's best is {best_device()}")
    return device


def death(exitcode: int) -> str:
    """Return in words how a process ended."""
    if exitcode < 0:
        name = signal.Signals(-exitcode).name
        hint = ", perhaps for want of memory" if exitcode == -signal.SIGKILL else ""
        return f"was ended by {name}{hint}"
    return f"ended with exit code {exitcode}"


def leave(exitcode: int) -> NoReturn:
    """End this process now; taking torch apart would take half a second, in which others wait."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exitcode)


Tell = Callable[[object], None]


class Child:
    """A function that runs in a fresh process with training's environment.

    One that is named as `module:function` is imported there alone, with torch and all it needs.
    SIGINT and SIGTERM never reach it where it is `deaf`: its parent answers them.
    """

    def __init__(
        self,
        function: Callable[..., Any] | str,
        *arguments: Any,
        threads: int,
        deaf: bool = True,
        hear: Callable[[Any], None] = lambda message: None,
    ) -> None:
        self.over = False
        self._hear = hear
        self._ended: tuple[str, Any] = ("died", None)
        self.receiver, sender = SPAWN.Pipe(duplex=False)
        ignored = (signal.SIGINT, signal.SIGTERM) if deaf else (signal.SIGINT,)
        called = (sender, function, arguments, threads, ignored)
        self.process = SPAWN.Process(target=_call, args=called, name=f"{OURS}training")
        with child_environment(threads, deaf_to=ignored):
            self.process.start()
        sender.close()

    def listen(self, wait_s: float = 0.0) -> bool:
        """Hear what it tells, waiting so long for a first word; return whether it is over."""
        try:
            while not self.over and self.receiver.poll(wait_s):
                kind, content = self.receiver.recv()
                wait_s = 0.0
                if kind == "told":
                    self._hear(content)
                else:
                    self._ended, self.over = (kind, content), True
        except (EOFError, OSError):
            self.over = True
        return self.over

    def result(self) -> Any:
        """Return what the function returned, once it is over, or raise its HpsearchError.

        Raises ProcessDiedError where the process ended without a word, and WorkerError where the
        main script keeps processes from starting.
        """
        kind, content = self._ended
        self.process.join()
        if self.process.exitcode == UNGUARDED:
            raise unguarded()
        if kind == "raised":
            raise content
        if kind == "died":
            raise ProcessDiedError(f"the training process {death(self.process.exitcode or 0)}")
        return content

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and end it where that takes too long."""
        if self.process.is_alive():
            self.process.terminate()
            deadline = time.monotonic() + grace_s
            while not self.listen(LISTEN_S) and time.monotonic() < deadline:
                pass
            self.process.join(max(0.0, deadline - time.monotonic()))
        self.kill()

    def kill(self) -> None:
        """End it now, and give back what it held here."""
        if self.process.is_alive():
            self.process.kill()
        self.process.join()
        self.receiver.close()
        self.over = True


def in_child(
    function: Callable[..., Any] | str,
    *arguments: Any,
    threads: int,
    hear: Callable[[Any], None] = lambda message: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Any:
    """Return `function(tell, *arguments)`, called in a fresh process with training's environment.

    A function named as `module:function` is imported there alone, with torch and all it needs.
    What the function tells is heard here while it runs; its HpsearchErrors are raised here. Ctrl-C
    ends the child, and so does `interrupted()` turning true, as KeyboardInterrupt. SIGTERM is for
    its parent to answer, too: systemd and Slurm send it to both at once.
    """
    child = Child(function, *arguments, threads=threads, hear=hear)
    try:
        while not child.listen(LISTEN_S):
            if interrupted():
                raise KeyboardInterrupt
        return child.result()
    finally:
        child.kill()


def _call(
    sender: Any,
    function: Callable[..., Any] | str,
    arguments: tuple[Any, ...],
    threads: int,
    ignored: tuple[signal.Signals, ...],
) -> None:
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    import torch

    torch.set_num_threads(threads)
    if isinstance(function, str):
        module, _, name = function.partition(":")
        called: Callable[..., Any] = getattr(importlib.import_module(module), name)
    else:
        called = function
    try:
        result = called(lambda message: sender.send(("told", message)), *arguments)
    except HpsearchError as error:
        sender.send(("raised", error))
    else:
        sender.send(("returned", result))
    sender.close()
    leave(0)


def _die_with_parent() -> None:
    """Ask Linux to end this process when its parent dies, so that no training runs unseen."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
