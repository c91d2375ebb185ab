"""A plain consumer of ``drift-events``: one line per incident as it opens, grows and is resolved.

    python -m examples.drift_events [--bootstrap-servers HOST:PORT]

Every event is delivered at least once, under an id that never changes: whoever drops repeated ids sees each thing once.
``follow`` does that, and commits an offset only after its event was handled, so a crash repeats and never loses.
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
    """CloudEvents of a topic, each once, from the oldest on; ends after ``idle_seconds`` without one (None: never)."""
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
    """What to tell a person about an event; None where it is nothing to them."""
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
