"""Ids as numbers: known values, and a number for every text."""

from hypothesis import given
from hypothesis import strategies as st

from stream.formats.ids import NONE, number_of, numbers_of, numbers_or_none


def test_a_checkpoint_of_any_machine_is_understood_on_every_other() -> None:
    """XXH3 of 64 bits, as xxhash 4.1.0 gives it on x86-64."""
    assert numbers_of(["a", "order-1"]).tolist() == [0xE6C632B61E964E1F, 0x5FC46503368E2876]
    assert numbers_or_none(["a", None]).tolist() == [0xE6C632B61E964E1F, NONE]


@given(st.lists(st.text(st.characters(exclude_categories=()), min_size=1), max_size=8))
def test_every_text_has_a_number_and_equal_ones_the_same(texts: list[str]) -> None:
    numbers = numbers_of(texts).tolist()
    assert NONE not in numbers
    assert len(set(numbers)) == len(set(texts))
    assert numbers == [number_of(text) for text in texts]
