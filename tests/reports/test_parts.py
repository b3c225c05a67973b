"""The small parts of reports: numbers, sparklines, untrusted text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectrum_ft_reports.parts import numbers
from spectrum_ft_reports.parts.sparklines import BLOCKS, DIGITS, Cell, binned, curve, glyph, height
from spectrum_ft_reports.parts.untrusted import printable


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0 k"), (134_515_008, "134.5 M"), (7 * 10**10, "70.0 B")],
)
def test_counts_carry_a_unit(value: int, text: str) -> None:
    assert numbers.count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.4518, "0.452"), (1.0, "1.00"), (88.04, "88.0"), (0.000123, "0.000123")],
)
def test_scores_have_three_digits(value: float | None, text: str) -> None:
    assert numbers.score(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 MiB"), (612 * 2**20, "612 MiB"), (int(2.427 * 2**30), "2.43 GiB"), (2**37, "128 GiB")],
)
def test_sizes_are_in_powers_of_1024(value: int, text: str) -> None:
    assert numbers.size(value) == text


def test_durations_words_and_shares() -> None:
    assert numbers.seconds(3.44) == "3.4 s"
    assert numbers.seconds(725.2) == "12 min 5 s"
    assert numbers.seconds(12_346.0) == "3 h 26 min"
    assert numbers.plural(1, "matrix", "matrices") == "1 matrix"
    assert numbers.plural(2000, "tensor") == "2,000 tensors"
    assert numbers.share(1, 4) == "25.0 %"


def cells(*heights: float | None) -> list[Cell]:
    return [Cell(height=height, marked=False) for height in heights]


def test_heights_become_signs_and_holes_stay_empty() -> None:
    row = cells(0.0, 0.5, 1.0, None)
    assert "".join(glyph(cell, BLOCKS) for cell in row) == "▁▅█ "
    assert "".join(glyph(cell, DIGITS) for cell in row) == "059 "


def test_neighbours_are_joined_where_there_is_no_room() -> None:
    joined = binned([Cell(height=i / 7, marked=i == 2) for i in range(8)], 4)
    assert [cell.height for cell in joined] == pytest.approx([0.5 / 7, 2.5 / 7, 4.5 / 7, 6.5 / 7])
    assert [cell.marked for cell in joined] == [False, True, False, False]
    assert binned(cells(None, None, 1.0, None), 2) == cells(None, 1.0)


def test_heights_are_a_share_of_the_way_however_large_the_numbers() -> None:
    assert [height(v, 2.0, 6.0) for v in (2.0, 3.0, 6.0)] == [0.0, 0.25, 1.0]
    assert height(7.0, 7.0, 7.0) == 0.5
    assert [height(v, -1.7e308, 1.7e308) for v in (-1.7e308, 0.0, 1.7e308)] == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("count", [3, 2_000])
def test_a_curve_of_the_largest_floats_can_be_drawn(count: int) -> None:
    drawn = curve([1.7e308] * count + [-1.7e308] * count)
    assert "".join(glyph(cell, DIGITS) for cell in (drawn[0], drawn[-1])) == "90"


@given(st.text())
@settings(derandomize=True, deadline=None)
def test_untrusted_text_never_holds_what_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(c) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in shown)


def test_escapes_and_marks_that_turn_text_around_are_spelled_out() -> None:
    assert printable("a\x1b[2J\x9b\u202eb\n") == "a\\x1b[2J\\x9b\\u202eb\\n"
    assert printable("[red]x[/] :smile:") == "[red]x[/] :smile:"
    assert printable("é日本") == "é日本"


def test_a_long_name_is_cut_in_its_middle() -> None:
    shown = printable("a" * 500 + "end", limit=40)
    assert len(shown) <= 40
    assert shown.endswith("end")
