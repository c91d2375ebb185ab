"""The smallest publisher: three lines around a model's prediction.

python -m examples.publish [--bootstrap-servers HOST:PORT]
"""

import argparse
import random

from driftline import InferencePublisher


def predict(features: dict[str, object]) -> tuple[int, float]:
    """A placeholder for your model."""
    amount = float(str(features["amount"]))
    score = min(1.0, amount / 1000)
    return int(score > 0.5), score


def main() -> None:
    parser = argparse.ArgumentParser(description="Publishes 1,000 inferences of a made-up fraud model.")
    parser.add_argument("--bootstrap-servers", default="127.0.0.1:9092")
    parser.add_argument("--events", type=int, default=1000)
    arguments = parser.parse_args()
    generator = random.Random(1)
    with InferencePublisher("fraud", "3", bootstrap_servers=arguments.bootstrap_servers) as publisher:
        for _ in range(arguments.events):
            features: dict[str, object] = {
                "amount": round(generator.lognormvariate(4, 1), 2),
                "country": generator.choice(["NL", "DE", "BE"]),
                "age": generator.choice([None, 31, 54]),
            }
            prediction, score = predict(features)
            identity = publisher.log(features, prediction, scores={"fraud": score}, segment=str(features["country"]))
            # When the truth becomes known, days later: publisher.log_label(identity, 1)
            assert identity
    print(publisher.stats())


if __name__ == "__main__":
    main()
