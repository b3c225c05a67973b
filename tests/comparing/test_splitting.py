"""Parting training data: nothing is lost, nothing is in both parts."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spectrum_ft.comparing.splitting import split
from spectrum_ft.records.comparisons import CompareError


@given(values=st.lists(st.integers(0, 40), min_size=2, max_size=80), share=st.floats(0.01, 0.5))
@settings(derandomize=True, max_examples=100, deadline=None)
def test_parts_are_the_whole_and_share_no_row(values: list[int], share: float) -> None:
    rows = [{"text": str(value)} for value in values]
    try:
        train, validation = split(rows, share)
    except CompareError:
        assert len(set(values)) == 1  # only equal rows
        return
    texts = [{row["text"] for row in part} for part in (train, validation)]
    assert not texts[0] & texts[1]
    key = json.dumps
    assert sorted(map(key, [*train, *validation])) == sorted(map(key, rows))
    assert [r for r in rows if r in train] == train  # in their order


def test_the_part_has_the_size_asked_for_and_is_always_the_same() -> None:
    rows = [{"text": str(n)} for n in range(200)]
    train, validation = split(rows, 0.1)
    assert (len(train), len(validation)) == (180, 20)
    assert split(rows, 0.1) == (train, validation)


def test_rows_that_cannot_be_parted_are_refused() -> None:
    with pytest.raises(CompareError, match="cannot be parted"):
        split([{"text": "a"}, {"text": "a"}], 0.5)
