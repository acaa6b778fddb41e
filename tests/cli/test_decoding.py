"""How long decoding will take is told from its pace."""

from __future__ import annotations

from hpsearch.cli.decoding import Pace


def test_the_time_left_is_told_from_the_pace_so_far() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.left(64, 10_000) == ""
    now[0] = 1.0
    assert pace.left(500, 10_000) == ""  # too early to tell
    now[0] = 10.0
    assert pace.left(1064, 10_000) == ", about 1 min 29 s left"
    assert pace.left(10_000, 10_000) == ""


def test_what_a_killed_preparation_decoded_does_not_make_the_pace_faster() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.left(200_000, 300_000) == ""
    now[0] = 100.0
    assert pace.left(210_000, 300_000) == ", about 15 min 00 s left"


def test_lines_are_told_ten_times_whatever_the_steps_are() -> None:
    pace = Pace(lambda: 0.0)
    told = [done for done in range(64, 3001, 64) if pace.is_a_step(done, 3000)]
    assert pace.is_a_step(3000, 3000)
    assert len(told) == 9
