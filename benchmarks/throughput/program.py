"""Runs one program of the comparison in a process of its own: ``python -m benchmarks.throughput.program NAME ...``."""

import sys

from benchmarks.throughput.spent import Program, emit


def program(name: str) -> Program:
    """The program with that name. Only its own libraries are imported: not every environment has all of them."""
    if name == "driftline":
        from benchmarks.throughput import ours

        return ours.run
    if name in ("quix_river", "bytewax_river"):
        from benchmarks.throughput import frameworks

        return {"quix_river": frameworks.quix_river, "bytewax_river": frameworks.bytewax_river}[name]
    from benchmarks.throughput import peers

    return {
        "faust_river": peers.faust_river,
        "faust_only": peers.faust_only,
        "aiokafka_river": peers.aiokafka_river,
        "aiokafka_decode": peers.aiokafka_decode,
        "aiokafka_count": peers.aiokafka_count,
        "confluent_river": peers.confluent_river,
        "confluent_count": peers.confluent_count,
    }[name]


if __name__ == "__main__":
    emit(program(sys.argv[1])(sys.argv[2], sys.argv[3], int(sys.argv[4])))
