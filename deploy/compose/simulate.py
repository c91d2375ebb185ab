"""Three simulated models that publish to a real Kafka and change three times: the compose profile ``demo``.

python simulate.py BOOTSTRAP_SERVERS [SECONDS]
"""

import sys
import time

from stream.backends.clock import SystemClock
from stream.demo import story
from stream.demo import traffic as demo_traffic

SECONDS = 1_800.0
"""Duration of the traffic: references of 10,000 events at 150 per second are learned before the first change."""


def main(bootstrap_servers: str, seconds: float = SECONDS) -> None:
    models = demo_traffic.train(seed=1)
    clock = SystemClock()
    traffic = demo_traffic.Traffic(models, story.STORY, seconds, bootstrap_servers, clock.now_ms)
    traffic.start()
    try:
        while traffic.running:
            time.sleep(1)
    finally:
        traffic.stop()
    if traffic.crash is not None:
        raise traffic.crash


if __name__ == "__main__":
    main(sys.argv[1], *(float(given) for given in sys.argv[2:3]))
