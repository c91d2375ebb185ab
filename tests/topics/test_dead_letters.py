"""Dead letters: the record as it came with the reason, within the limits of size and rate, from every stage."""

from collections import Counter

from stream.settings.settings import KafkaSettings, LimitSettings, Settings
from stream.topics.dead_letters import HEADROOM_BYTES, REASON_CHARACTERS, DeadLetters
from stream.topics.record import Partition, Record

PLACE = Partition("inference-events", 3)
LARGEST = 65_536


def made(**limits: int) -> tuple[DeadLetters, Counter[str]]:
    counted: Counter[str] = Counter()

    def limited(name: str, count: int) -> None:
        counted[name] += count

    kafka, own = KafkaSettings(max_message_bytes=LARGEST), LimitSettings(**limits)
    return DeadLetters(Settings(kafka=kafka, limits=own), limited), counted


def rejected(*offsets: int) -> list[tuple[Record, str]]:
    return [(Record(offset, 5, b"k", b"v", (("trace", b"1"), ("reason", b"theirs"))), "broken") for offset in offsets]


def test_a_letter_has_the_records_value_and_headers_and_says_where_it_lay_and_why() -> None:
    (letter,) = made()[0].records(PLACE, rejected(7), 0)
    assert (letter.topic, letter.key, letter.value) == ("driftline-dead-letters", b"inference-events/3", b"v")
    assert letter.headers == (
        ("topic", b"inference-events"),
        ("partition", b"3"),
        ("offset", b"7"),
        ("reason", b"broken"),
        ("trace", b"1"),
    )


def test_all_stages_share_one_rate_and_the_rest_is_counted() -> None:
    letters, counted = made(dead_letters_per_second=3)
    assert len(letters.records(PLACE, rejected(1, 2), 1_000)) == 2
    assert len(letters.records(Partition("driftline-profiles", 0), rejected(1, 2), 1_999)) == 1
    assert letters.records(PLACE, rejected(3), 1_999) == []
    assert counted == {"dead_letters_per_second": 2}
    assert len(letters.records(PLACE, rejected(4), 2_000)) == 1


def test_a_record_above_the_size_limit_is_cut_and_a_long_reason_too() -> None:
    record = Record(1, 5, None, b"x" * LARGEST, (("trace", b"1"),))
    (letter,) = made()[0].records(PLACE, [(record, "y" * 2 * REASON_CHARACTERS)], 0)
    assert letter.value == b"x" * ((LARGEST - HEADROOM_BYTES) // 2)
    assert dict(letter.headers)["cut_from_bytes"] == str(LARGEST + 6).encode()
    assert "trace" not in dict(letter.headers)
    assert len(dict(letter.headers)["reason"]) == REASON_CHARACTERS
