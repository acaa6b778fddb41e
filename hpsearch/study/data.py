"""The `data` section of a study file: which images, how they are decoded, how they are split."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    field_validator,
    model_validator,
)

from hpsearch.study.limits import (
    PATTERN_LENGTH,
    no_longer_than,
)
from hpsearch.study.splits import Name, Path, Roots, Section, Split, names_of, one_or_several

SourceName = Literal[
    "digits",
    "mnist",
    "fashion-mnist",
    "kmnist",
    "emnist",
    "emnist-byclass",
    "emnist-bymerge",
    "emnist-letters",
    "emnist-digits",
    "emnist-mnist",
    "cifar10",
    "cifar100",
    "svhn",
    "folder",
    "table",
    "arrays",
    "sound",
    "text",
]
Task = Literal["single-label", "multi-label", "regression"]
Duplicates = Literal["together", "refuse", "allow"]
Balance = Literal["none", "weights", "sampling"]
Fit = Literal["crop", "pad", "squeeze"]
OUTPUTS: dict[Task, str] = {  # what one output of a network tells, and several of them
    "single-label": "classes",
    "multi-label": "labels",
    "regression": "numbers",
}

OF_FILES = ("folder", "table", "sound")
WITH_ROOTS = ("folder", "table", "arrays", "sound", "text")
OF_TABLES = ("table", "sound", "text")
OF_COLUMNS = ("table", "arrays", "sound", "text")
OF_PICTURES = tuple(n for n in get_args(SourceName) if n not in ("sound", "text"))
WITH_OFFICIAL_TEST = frozenset(get_args(SourceName)) - {"digits", "folder", *OF_COLUMNS}
# Options that say nothing to the other sources, where a wish for them would be passed over.
OPTIONS_OF: dict[str, tuple[str, ...]] = {
    "image_size": OF_PICTURES,
    "fit": OF_PICTURES,
    "task": ("folder", *OF_COLUMNS),
    "input": OF_COLUMNS,
    "target": ("folder", *OF_COLUMNS),
    "separator": ("folder", "table", "sound", "text"),
    "pattern": OF_FILES,
    "groups": ("folder", *OF_COLUMNS),
    "files": ("table", "sound"),
    "suffix": ("table", "sound"),
    "pictures": ("folder", "table"),
    "columns": OF_TABLES,
    "quotes": OF_TABLES,
    "arrays": ("arrays",),
    "sound": ("sound",),
    "text": ("text",),
}
INPUTS = {"table": "path", "sound": "path", "text": "text", "arrays": "images"}
ROOTS = {
    "folder": "a folder of images needs root, the folder of class folders",
    "table": "a table needs root, the CSV file",
    "arrays": "arrays need root, the .npz or HDF5 file",
    "sound": "sound needs root, a folder of recordings or a CSV file that names them",
    "text": "text needs root, the CSV file",
}
# The 68 characters that X. Zhang, J. Zhao and Y. LeCun read in "Character-level convolutional
# networks for text classification", NeurIPS 2015, less the line break: white space is none of them.
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-,;.!?:'\"/\\|_@#$%^&*~`+=<>()[]{}"


WIDEST, NARROWEST = 1e30, 1e-30  # ranges of values: grey levels are a product of 255 and both


def _is_a_range(written: tuple[float, float]) -> tuple[float, float]:
    low, high = written
    if not low < high:
        raise ValueError(f"{list(written)} is no range; write the lower number first")
    if max(-low, high) > WIDEST or high - low < NARROWEST:
        raise ValueError(
            f"{list(written)} is no range of images; its ends lie within {WIDEST:g}, and at "
            f"least {NARROWEST:g} apart"
        )
    return written


BlackAndWhite = Annotated[tuple[float, float], AfterValidator(_is_a_range)]


class Pictures(Section):
    """How files of pictures are decoded.

    `range` gives the values that become grey level 0 and 255 in all of them; without, pictures of 8
    bits stay as they are, and deeper ones have one range for the whole data set. Of files with
    several `pages` the first is read, or each is an example, or each is a channel. `decode: fast`
    reads JPEG files at a half, a quarter or an eighth of their size where that is no smaller than
    what the study asks for.
    """

    range: BlackAndWhite | None = None
    pages: Literal["first", "all", "channels"] = "first"
    decode: Literal["fast", "full"] = "fast"


class Arrays(Section):
    """How images stand in an `.npz` or HDF5 file.

    `channels_first` says that their axes are (N, channels, height, width). `range` gives the values
    that become grey level 0 and 255, for numbers that are not 0 to 255 (or 0 to 1 for floats).
    """

    channels_first: bool | None = None
    range: BlackAndWhite | None = None


class Sound(Section):
    """How recordings become log-mel spectrograms: `mels` high, one column every `hop_ms`.

    The loudest place of a recording is white, and black is `dynamic_range_db` below it.
    `sample_rate` (Hz) is the usual one of the files, `seconds` what 95 % of them fit into,
    unless they are given: the middle of a longer recording is kept, a shorter one is padded with
    silence on both sides.
    """

    sample_rate: int | None = Field(None, ge=1000, le=192_000)
    seconds: float | None = Field(None, gt=0, le=60)
    mels: int = Field(64, ge=8, le=224)
    hop_ms: float = Field(10.0, ge=1, le=1000)
    dynamic_range_db: float = Field(80.0, ge=10, le=200)


class Text(Section):
    """How texts become images of height 1: their first `length` characters, a channel for each.

    Of a character that the `alphabet` lacks, only its place is kept. Texts are read in lower case
    where the alphabet has no capital letters.
    """

    length: int = Field(256, ge=8, le=8192)
    alphabet: str = Field(ALPHABET, min_length=2, max_length=255)

    @field_validator("alphabet")
    @classmethod
    def _names_each_once(cls, alphabet: str) -> str:
        twice = sorted({c for c in alphabet if alphabet.count(c) > 1})
        if twice:
            raise ValueError(f"the alphabet names {twice[0]!r} more than once")
        return alphabet


SMALLEST_SIDE, LARGEST_SIDE = 8, 224  # pixels


def _image_size(written: object) -> object:
    """Return a side of a square, or (height, width); a square has one way to be stored."""
    sides: list[Any] = list(written) if isinstance(written, list | tuple) else [written]
    if len(sides) not in (1, 2) or any(type(side) is not int for side in sides):
        raise ValueError(f"{written!r} is no size; write one side in pixels, or [height, width]")
    if min(sides) < SMALLEST_SIDE:
        raise ValueError(f"{written!r}: input should be greater than or equal to {SMALLEST_SIDE}")
    if max(sides) > LARGEST_SIDE:
        raise ValueError(f"{written!r}: input should be less than or equal to {LARGEST_SIDE}")
    return sides[0] if len({*sides}) == 1 else tuple(sides)


ImageSize = Annotated[int | tuple[int, int], BeforeValidator(_image_size)]


class Data(Section):
    """Where images come from, how they are decoded, how they are split.

    `image_size` is the side of a square in pixels, or (height, width); pictures of another shape
    lose what is beyond the centre (`crop`), get black bars (`pad`), or are squeezed.
    `root`, or `roots` of its parts, only says where the data lies; the fingerprint of its content
    says what it is. `input`, `target` and `groups` name columns of a table (arrays of a file,
    named groups of `pattern`): what is shown to the network, what it has to tell, and what must
    never straddle two splits.
    `files` is the folder, from the table's own on, in which the files lie that a table names, and
    `suffix` the ending that their names there lack.
    `columns` names those of a table without a header, and `quotes` says whether quote marks in it
    quote a field or are characters like any other.
    Copies of one image in several splits are moved `together` into train, or the data is refused,
    or they are allowed to stay.
    """

    source: SourceName
    root: Path | None = None
    roots: Roots | None = None
    image_size: ImageSize | None = None
    fit: Fit = "crop"
    task: Task = "single-label"
    input: Annotated[Name | tuple[Name, ...] | None, BeforeValidator(one_or_several)] = None
    target: Annotated[tuple[Name, ...] | None, BeforeValidator(names_of)] = None
    separator: Name | None = Field(None, min_length=1)
    pattern: Annotated[str | None, no_longer_than(PATTERN_LENGTH)] = None
    groups: Name | None = None
    files: Path | None = None
    suffix: Name | None = None
    columns: Annotated[tuple[Name, ...] | None, BeforeValidator(names_of)] = None
    quotes: bool | None = None
    balance: Balance = "none"
    pictures: Pictures | None = None
    arrays: Arrays | None = None
    sound: Sound | None = None
    text: Text | None = None
    on_broken: Literal["error", "skip"] = "error"
    duplicates: Duplicates = "together"
    download: bool = False
    split: Split = Split()

    @cached_property
    def beside(self) -> str | None:
        """The folder of the study file that this was read from; no part of what it says."""
        return None

    def found_beside(self, folder: str) -> None:
        """Note the folder of the study file, in which a relative root may lie."""
        self.__dict__["beside"] = folder  # where the property keeps it, which equality passes over

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        try:
            names = re.compile(pattern).groupindex
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if not names:
            raise ValueError(f"{pattern!r} has no named group; write one as (?P<label>...)")
        return pattern

    @model_validator(mode="after")
    def _fits_the_source(self) -> Data:
        for name, sources in OPTIONS_OF.items():
            given = getattr(self, name) != type(self).model_fields[name].default
            if given and self.source not in sources:
                raise ValueError(f"{self.source} takes no {name}; it is for {', '.join(sources)}")
        if self.source in ("folder", "table") and self.image_size is None:
            what = "a folder" if self.source == "folder" else "a table"
            raise ValueError(f"{what} of images needs image_size, such as image_size: 64")
        if self.source in ROOTS and self.root is None and self.roots is None:
            raise ValueError(ROOTS[self.source])
        if self.roots is not None and self.source not in WITH_ROOTS:
            raise ValueError(f"{self.source} takes no roots; they are for {', '.join(WITH_ROOTS)}")
        if self.root is not None and self.roots is not None:
            raise ValueError("root and roots exclude each other; roots are those of the parts")
        if self.split.validation == "official" and self.source not in WITH_OFFICIAL_TEST:
            raise ValueError(f"{self.source} has no official test part; give validation a share")
        return self

    @model_validator(mode="after")
    def _reads_one_input(self) -> Data:
        if not isinstance(self.input, str | None) and (self.source != "text" or not self.input):
            raise ValueError(f"input: {list(self.input)}; only texts are joined of several columns")
        return self

    @model_validator(mode="after")
    def _names_columns_once(self) -> Data:
        names = self.columns
        if names is not None and (not names or len(set(names)) < len(names)):
            raise ValueError(f"columns: {list(names)} are no names of columns, each another")
        return self

    @model_validator(mode="after")
    def _fits_the_task(self) -> Data:
        if self.target == ():
            raise ValueError("target is an empty list; name a column, or leave target out")
        targets = self.target_names()
        twice = next((name for name in targets if targets.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"target names {twice!r} more than once")
        if self.task == "single-label" and len(targets) > 1:
            raise ValueError(
                "several targets are no single label; say task: multi-label or task: regression"
            )
        if self.separator is not None and (self.task != "multi-label" or len(targets) > 1):
            raise ValueError("separator is for several labels in one column, task: multi-label")
        if self.balance != "none" and self.task == "regression":
            raise ValueError("balance is for classes and labels; a regression has none")
        if self.balance == "sampling" and self.task == "multi-label":
            raise ValueError(
                "balance: sampling draws one class as often as another, and an image of several "
                "labels is in none of them; use balance: weights"
            )
        return self

    def size(self) -> tuple[int, int] | None:
        """Return height and width that images are brought to; None where they stay as they are."""
        return (self.image_size,) * 2 if isinstance(self.image_size, int) else self.image_size

    def input_name(self) -> str:
        """Return the column or array that holds images, texts or the paths of files."""
        return self.input_names()[0]

    def input_names(self) -> tuple[str, ...]:
        """Return the columns that hold what is shown to a network: several of a text, else one."""
        named = self.input or INPUTS[self.source]
        return (named,) if isinstance(named, str) else named

    def target_names(self) -> tuple[str, ...]:
        """Return the columns or arrays that hold what a network has to tell."""
        return self.target or (("targets",) if self.source == "arrays" else ("label",))


class DataReference(Data):
    """The data of one training, identified wherever it lies by the `fingerprint` of its content."""

    fingerprint: Name
