"""Shares of examples in words."""

from hpsearch.reports.seal import _share


def test_a_share_that_is_not_all_is_never_called_all() -> None:
    shares = [(0, 160), (1, 160), (159, 160), (160, 160), (3, 4000), (3999, 4000)]
    assert [_share(some, of).partition("(")[2] for some, of in shares] == [
        "0 %)", "0.62 %)", "more than 99 %)", "100 %)", "0.075 %)", "more than 99 %)"
    ]  # fmt: skip
