"""Compares what was published with what must have been counted, which is computed again from the input topic."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from detectors.merging import Step
from detectors.profiles import Profile
from detectors.reference import reference as references
from detectors.reference.reference import Reference
from stream.judge.shard import Shard
from stream.observe.observer import Observer
from stream.observe.shell.settings import observe_settings
from stream.settings import settings as config
from stream.topics import marks
from stream.topics.record import Partition, Record
from tests.chaos import incidents
from tests.chaos.incidents import Comparison
from tests.service.processes import PARTITIONS, Deployment


class Verdict(NamedTuple):
    """Events that were lost, counted too often, and shards whose profile is not the fold; ids that were published with
    two contents."""

    produced: int
    counted: int
    missing: int
    extra: int
    wrong: list[str]
    told: int
    repeated: int
    contradicting: list[str]
    judged: Comparison

    @property
    def good(self) -> bool:
        wrong = self.missing or self.extra or self.wrong or self.contradicting
        return self.produced > 0 and not wrong and self.judged.good and bool(self.judged.incidents)


async def read(deployment: Deployment, topic: str) -> dict[Partition, list[Record]]:
    """All records of a topic."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=deployment.bootstrap_servers, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        consumer.assign(places)
        ends = await consumer.end_offsets(places)
        found: dict[Partition, list[Record]] = {Partition(*place): [] for place in places}
        while any([await consumer.position(place) < ends[place] for place in places]):
            for place, batch in (await consumer.getmany(timeout_ms=200)).items():
                found[Partition(*place)] += [
                    Record(r.offset, r.timestamp, r.key, r.value, tuple(r.headers)) for r in batch
                ]
        return found
    finally:
        await consumer.stop()


def newest(records: Iterable[Record]) -> dict[bytes, Profile]:
    """The profiles as the judge uses them: of each shard the furthest one."""
    held: dict[bytes, Shard] = {}
    for record in records:
        if record.value is None or record.key is None:
            continue
        profile = msgspec.json.decode(record.value, type=Profile)
        shard = held.setdefault(record.key, Shard(profile, []))
        if shard.step(profile) is not Step.IGNORED:
            shard.hold(profile)
    return {key: shard.profile for key, shard in held.items()}


async def judge(deployment: Deployment, given: list[Reference]) -> Verdict:
    """Compares everything that was written with everything that was read. ``given``: references known at the
    beginning."""
    settings = config.load(deployment.path, {})
    profiles = await read(deployment, settings.topics.profiles)
    every = (record for records in profiles.values() for record in records)
    held = newest(record for record in every if not (record.key or b"").startswith(marks.KEY))
    log = await read(deployment, settings.topics.event_names[0])
    known = [
        references.decode(r.value, "references")
        for records in (await read(deployment, settings.topics.references)).values()
        for r in records
        if r.value
    ]
    expected = plain_counts(settings, log)
    got = {(p.model, p.partition): p.events for p in held.values()}
    missing = sum(max(0, count - got.get(shard, 0)) for shard, count in expected.items())
    extra = sum(max(0, count - expected.get(shard, 0)) for shard, count in got.items())
    wrong = [text for profile in held.values() if (text := difference(settings, log, known, profile))]
    everything = await _told(deployment)
    told, repeated, contradicting = _compared(everything)
    judged = incidents.compare(settings, given, profiles, log, everything)
    return Verdict(
        sum(expected.values()), sum(got.values()), missing, extra, wrong, told, repeated, contradicting, judged
    )


def plain_counts(settings: config.Settings, log: dict[Partition, list[Record]]) -> dict[tuple[str, int], int]:
    """Events by model and partition; a repeated id of one partition counts once. Uses no code of driftline."""
    counts: dict[tuple[str, int], int] = {}
    for place, records in log.items():
        seen: set[str] = set()
        for record in records:
            event = msgspec.json.decode(record.value or b"null")
            if event["id"] not in seen:
                seen.add(event["id"])
                shard = (event["model"], place.partition)
                counts[shard] = counts.get(shard, 0) + 1
    return counts


def difference(
    settings: config.Settings, log: dict[Partition, list[Record]], known: list[Reference], profile: Profile
) -> str:
    """How a published profile differs from the fold of its partition by one observer without faults."""
    place, begin = Partition(profile.topic, profile.partition), profile.epoch.first_offset
    reference = next((r for r in known if r.digest == profile.epoch.reference), None)
    if profile.epoch.reference is not None and reference is None:
        return f"{place}: {profile.unit}: reference {profile.epoch.reference} is on no topic"
    from_start = [reference] if reference is not None and not any(r.offset < begin for r in log[place]) else []
    observer = Observer(observe_settings(settings), from_start)
    observer.assign(place)
    observer.process(place, [r for r in log[place] if r.offset < begin])
    if reference is not None:
        observer.set_reference(reference)
    observer.process(place, [r for r in log[place] if begin <= r.offset < profile.next_offset])
    wanted = observer._partitions[place].units[profile.unit]._counts.profile()
    left_out = {"slot_end_ms", "slot_level", "slot_open"}  # a slot ends without another event
    if begin:
        left_out.add("outcomes")  # they run through epochs
    names = [name for name in Profile.__struct_fields__ if name not in left_out]
    fields = [name for name in names if getattr(wanted, name) != getattr(profile, name)]
    return f"{place}: {profile.unit}: {', '.join(fields)} differ" if fields else ""


async def _told(deployment: Deployment) -> list[dict[str, Any]]:
    topics = [deployment.topics[name] for name in ("drift_events", "retrain_requests")]
    logs = [await read(deployment, topic) for topic in topics]
    return [json.loads(r.value) for log in logs for records in log.values() for r in records if r.value]


def _compared(told: list[dict[str, Any]]) -> tuple[int, int, list[str]]:
    """The number of ids, the number of repeats, and the ids whose repeats have another content."""
    first: dict[str, dict[str, Any]] = {}
    contradicting = []
    for event in told:
        before = first.setdefault(event["id"], event)
        if before != event:
            contradicting.append(f"{event['type']} {event['id']}")
    return len(first), len(told) - len(first), sorted(set(contradicting))
