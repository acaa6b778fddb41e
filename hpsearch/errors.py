"""Every error that hpsearch raises on purpose.

A message says where, what, and what instead. The command line prints it without a traceback and
leaves with a non-zero exit code.
"""


class HpsearchError(Exception):
    """The root: catch this to catch all that hpsearch raises on purpose."""


class StudyFileError(HpsearchError):
    """A study file, or a value given in its place, cannot be used as it stands."""


class DataError(HpsearchError):
    """The data is missing, broken, or cannot be split as the study asks."""


class StorageError(HpsearchError):
    """The storage does not answer, or is not what it should be."""


class SchemaError(StorageError):
    """The storage's tables are of another version than this hpsearch knows."""


class NoStorageError(StorageError):
    """There is no storage at that place yet."""


class StudyMismatchError(HpsearchError):
    """The stored study and the one at hand differ in what makes their scores comparable."""


class StudyNotFoundError(HpsearchError):
    """The storage holds no such study or trial."""


class UnreadableStudyError(HpsearchError):
    """What is stored of a study cannot be read: another version wrote it, or it is damaged.

    `version` is the hpsearch that wrote it, None where that is not on record.
    """

    def __init__(self, study: str, version: str | None, reason: str) -> None:
        super().__init__(study, version, reason)
        self.study, self.version, self.reason = study, version, reason

    def __str__(self) -> str:
        wrote = f"hpsearch {self.version}" if self.version else "an hpsearch of unknown version"
        return (
            f"study {self.study!r} cannot be read: {self.reason}. It was written by {wrote}; use "
            "that version or a newer one, or remove it with 'hpsearch delete'"
        )


class UnreadableOpeningError(HpsearchError):
    """What is stored of an opening cannot be read: another version wrote it, or it is damaged."""

    def __init__(self, opening: int, study: str, reason: str) -> None:
        super().__init__(opening, study, reason)
        self.opening, self.study, self.reason = opening, study, reason

    def __str__(self) -> str:
        return (
            f"opening {self.opening} of validation, by study {self.study!r}, cannot be read: "
            f"{self.reason}. Use the hpsearch that wrote it, or a newer one"
        )


class NothingToChooseError(HpsearchError):
    """No trial has been completed, so there is nothing to choose, export or measure."""


class SealError(HpsearchError):
    """The validation split was opened before; opening it again has to be asked for."""


class WorkerError(HpsearchError):
    """Worker processes died or kept failing, and the search could not go on."""


class ProcessDiedError(WorkerError):
    """A process died without a word: killed from outside, or for want of memory."""


class RunsFolderError(HpsearchError):
    """Results cannot be written: the folder is read-only, or its disk is full."""


class StudyStateError(HpsearchError):
    """A study is in a state in which what was asked of it makes no sense."""


class WeightsError(HpsearchError):
    """Pretrained weights are missing, or are not those of the network that wants them."""
