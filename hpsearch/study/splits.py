"""How data is split: by shares, or as its authors did it; and what sections of a study file are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from hpsearch.study.limits import NAME_LENGTH, PATH_LENGTH, SEED, at_most, no_longer_than

Path = Annotated[str, no_longer_than(PATH_LENGTH)]
Name = Annotated[str, no_longer_than(NAME_LENGTH)]


COLUMN_OF_ROOTS = "root of the part"  # in which the place of each example stands


class Section(BaseModel):
    """A section of a study file: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def names_of(written: object) -> object:
    """Return one name or several as a list of names; a YAML number may name a column."""
    if written is None:
        return None
    several = written if isinstance(written, list | tuple) else [written]
    return [str(n) if isinstance(n, int) and not isinstance(n, bool) else n for n in several]


def one_or_several(written: object) -> object:
    """Return a name as it is, and a list of them as their tuple."""
    return names_of(written) if isinstance(written, list | tuple) else written


class Parts(Section):
    """Which of the parts that its authors gave the data teach, select and are sealed."""

    train: Annotated[tuple[Name, ...], BeforeValidator(names_of)]
    test: Annotated[tuple[Name, ...], BeforeValidator(names_of)] = ()
    validation: Annotated[tuple[Name, ...], BeforeValidator(names_of)]


class Roots(Section):
    """Where the parts of data lie that is split already: ours, of which one may be missing.

    With two of them the one that does not teach is sealed, and test is cut from train.
    """

    train: Path
    test: Path | None = None
    validation: Path | None = None

    @model_validator(mode="after")
    def _are_several(self) -> Roots:
        places = self.places()
        if len(places) < 2 or len(set(places)) < len(places):
            raise ValueError("roots are those of two or three parts, each another place")
        return self

    def places(self) -> tuple[str, ...]:
        """Return the places of train, test and validation, without those that are missing."""
        every = (self.train, self.test, self.validation)
        return tuple(place for place in every if place is not None)

    def parts(self) -> Parts:
        """Return which place is which part, where places are their names."""
        sealed = self.validation or self.test
        assert sealed is not None, "there are two"
        test = (self.test,) if self.test is not None and self.validation is not None else ()
        return Parts(train=(self.train,), test=test, validation=(sealed,))


class Split(Section):
    """Shares of the data.

    train learns, **test selects** hyperparameters and prunes, **validation is sealed** until the
    final choice. `validation: official` seals the data set's own test part instead of a share.
    Where your own data is split by its authors, in folders, lists or a `column` that names the part
    of each example, that split counts: by the names of its `parts`, or by those that are given
    here; `parts: pooled` splits all of it by shares.
    """

    train: float = Field(0.8, gt=0, lt=1)
    test: float = Field(0.1, gt=0, lt=1)
    validation: float | Literal["official"] = 0.1
    seed: Annotated[int, at_most(SEED)] = Field(0, ge=0)
    column: Name | None = None
    parts: Literal["published", "pooled"] | Parts = "published"

    @model_validator(mode="after")
    def _shares_add_up(self) -> Split:
        if self.validation == "official":
            if self.train + self.test > 1 + 1e-9:
                raise ValueError(f"train {self.train} + test {self.test} is above 1")
            return self
        if not 0 < self.validation < 1:
            raise ValueError(f"validation {self.validation:g} is not between 0 and 1")
        total = self.train + self.test + self.validation
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + test + validation is {total:g}; make the shares add up to 1")
        return self

    def test_share(self) -> float:
        """Return the share of **test** in what a held-out part leaves over."""
        return self.test / (self.train + self.test)
