"""A plain consumer of ``drift-events``: one line per incident when it opens, grows or resolves.

    python -m examples.drift_events [--bootstrap-servers HOST:PORT]

Every event is delivered at least once, with an id that never changes. ``follow`` drops repeated ids, so each event is
handled once. It commits an offset only after its event was handled: a crash repeats events and never loses one.
"""

import argparse
import json
from collections import OrderedDict
from collections.abc import Generator
from typing import Any

import confluent_kafka

IDS_REMEMBERED = 10_000


def follow(
    servers: str, topic: str, group: str, idle_seconds: float | None = None
) -> Generator[dict[str, Any], None, None]:
    """Yields each CloudEvent of a topic once, oldest first; ends after ``idle_seconds`` without one (None: never)."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    seen: OrderedDict[str, None] = OrderedDict()
    try:
        while True:
            message = consumer.poll(idle_seconds if idle_seconds is not None else 1.0)
            if message is None:
                if idle_seconds is not None:
                    return
                continue
            if message.error():
                if message.error().fatal():
                    raise confluent_kafka.KafkaException(message.error())
                continue
            event = json.loads(message.value())
            if event["id"] not in seen:
                yield event
            seen[event["id"]] = None
            if len(seen) > IDS_REMEMBERED:
                seen.popitem(last=False)
            consumer.commit(message, asynchronous=False)
    finally:
        consumer.close()


def line(event: dict[str, Any]) -> str | None:
    """The line that is printed for an event; None if it is not about an incident."""
    kind = event["type"].removeprefix("io.driftline.").removesuffix(".v1")
    data = event["data"]
    if not kind.startswith("incident."):
        return None
    name = "/".join(str(data[key]) for key in ("model", "version", "segment") if data.get(key))
    features = ", ".join(feature["feature"] for feature in data.get("features", [])[:5])
    return f"{event['time']} {name}: {kind.removeprefix('incident.')} {data.get('verdict') or ''} ({features})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Prints incidents as they open, grow and are resolved.")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092")
    parser.add_argument("--topic", default="drift-events")
    parser.add_argument("--group", default="drift-events-printer")
    parser.add_argument("--idle-seconds", type=float, help="End after so long without an event.")
    arguments = parser.parse_args()
    for event in follow(arguments.bootstrap_servers, arguments.topic, arguments.group, arguments.idle_seconds):
        text = line(event)
        if text is not None:
            print(text, flush=True)


if __name__ == "__main__":
    main()
