"""Planted bugs of the judge stage: merge, judge, slots and frontier, quarantine, evidence, blindness, the shell."""

from tests.mutants.mutant import Mutant

WHOLE = "tests/simulation/test_whole.py"
CORES = "tests/simulation/event_time/test_cores.py::test_looks_incidents_and_references_are_those_of_the_ordered_run"
JUDGE = "tests/judge/test_judge.py"
ROWS = "tests/judge/shell/test_rows.py"

MUTANTS = (
    Mutant(
        "restored-without-a-shard",
        "stream/judge/shards.py",
        "            for name, s in state.shards.items()\n",
        "            for name, s in list(state.shards.items())[1:]\n",
        "A judge restores without one shard, whose events then count as evidence a second time.",
        (CORES, WHOLE),
    ),
    Mutant(
        "row-without-other-epochs",
        "stream/judge/shards.py",
        "            for name, shard in self._by_name.items()\n        }\n        return ShardsState(",
        "            for name, shard in self._by_name.items()\n"
        "            if judged is None or shard.profile.epoch.reference == judged\n"
        "        }\n        return ShardsState(",
        "A judge's row leaves out the shards that are in another epoch.",
        ("tests/judge/test_shard.py", WHOLE),
    ),
    Mutant(
        "commit-before-row",
        "stream/judge/shell/rows.py",
        "        for row, written in zip(rows, writes, strict=True):\n",
        "        for row in rows:\n"
        "            self._pending.finish_offsets(row.partition, row.offsets)\n"
        "        for row, written in zip(rows, writes, strict=True):\n",
        "A judge commits profiles before the rows that hold them are acknowledged.",
        (ROWS,),
    ),
    Mutant(
        "commit-what-waits",
        "stream/judge/shell/rows.py",
        "        self._pending.hold(unit, partition, offset, timestamp_ms)\n",
        "        self._pending.hold(unit, partition, offset, timestamp_ms)\n"
        "        self._pending.finish_offsets(partition, [offset])\n",
        "A judge commits profiles that still wait for other partitions.",
        (WHOLE,),
    ),
    Mutant(
        "row-before-output",
        "stream/judge/shell/rows.py",
        """            await self._sender.send(output)
            for partition, offset in without_row:
                self._pending.finish_offsets(partition, [offset])
            await self._write(rows)
""",
        """            await self._write(rows)
            await self._sender.send(output)
            for partition, offset in without_row:
                self._pending.finish_offsets(partition, [offset])
""",
        "A row is written before the output that it contains, which a crash in between loses.",
        (ROWS,),
    ),
    Mutant(
        "done-before-dead-letter",
        "stream/judge/shell/rows.py",
        """            await self._sender.send(output)
            for partition, offset in without_row:
                self._pending.finish_offsets(partition, [offset])
""",
        """            for partition, offset in without_row:
                self._pending.finish_offsets(partition, [offset])
            await self._sender.send(output)
""",
        "A record that cannot be read is committed before its dead letter is acknowledged.",
        (ROWS,),
    ),
    Mutant(
        "units-kept-after-rebalance",
        "stream/judge/shell/rows.py",
        "        for unit in list(self._units.units):\n            self._units.forget(unit)\n",
        "",
        "A judge keeps the units of partitions that it has lost.",
        (ROWS,),
    ),
    Mutant(
        "units-of-others-restored",
        "stream/judge/shell/rows.py",
        "            if stored.partition in partitions and stored.partition == home:\n",
        "            if stored.partition == home:\n",
        "A judge restores and judges the units of partitions that belong to another worker.",
        (ROWS,),
    ),
    Mutant(
        "output-of-requests-lost",
        "stream/judge/shell/rows.py",
        "            self._output += records\n            with_output",
        "            with_output",
        "What a reference or a request brings forth is never sent.",
        (ROWS,),
    ),
    Mutant(
        "old-row-believed",
        "stream/judge/shell/table.py",
        "            if reached[key] < before:\n",
        "            if False:\n",
        "A row that a replaced judge wrote over a newer one is believed.",
        ("tests/judge/shell/test_table.py",),
    ),
    Mutant(
        "skipped-records-accepted",
        "stream/judge/shell/app.py",
        "        if not self._order.accepts(message.partition, message.offset):\n            return\n",
        "",
        "Records that the consumer skipped after a rebalance are never judged.",
        ("tests/judge/shell/test_messages.py", WHOLE),
    ),
    Mutant(
        "message-of-before-the-rebalance",
        "stream/judge/shell/app.py",
        "        if not self.ready or not self._faust.is_current(message):\n"
        "            return\n"
        "        if not self._order",
        "        if not self.ready:\n            return\n        if not self._order",
        "A profile that waited through a rebalance is judged before those that precede it.",
        ("tests/judge/shell/test_messages.py",),
    ),
    Mutant(
        "marks-of-before-the-restart",
        "stream/judge/shell/app.py",
        "        self._desk.read_again()\n",
        "",
        "Marks of before a restart stand for profiles that are read again only later.",
        (WHOLE,),
    ),
    Mutant(
        "order-of-before-the-rebalance",
        "stream/judge/shell/app.py",
        "        self._order.clear()\n",
        "",
        "A judge goes on accepting records of a partition that it has lost and got back.",
        ("tests/judge/shell/test_messages.py",),
    ),
    Mutant(
        "output-without-row",
        "stream/judge/shell/desk.py",
        "        self._with_output.update(effect.unit for effect in effects)\n",
        "",
        "The row of a unit with output follows seconds later, so that a crash repeats more than the output after it.",
        ("tests/judge/shell/test_desk.py",),
    ),
    Mutant(
        "earlier-requests-lost",
        "stream/judge/shell/desk.py",
        "        self._judge.restore(unit, blob)\n"
        "        self._views[unit] = None\n"
        "        if self._incident_requests:\n",
        "        self._judge.restore(unit, blob)\n        self._views[unit] = None\n        if False:\n",
        "What a person asked for about an incident is lost if its unit was another worker's then.",
        ("tests/judge/shell/test_desk.py",),
    ),
    Mutant(
        "committed-over",
        "stream/judge/shell/pending.py",
        "        return self._unsaved.pop(unit, [])\n",
        "        return list(self._started.get(self._partitions[unit], {}))\n",
        "A row of one unit lets the profiles of all units of its partition be committed.",
        ("tests/judge/shell/test_pending.py",),
    ),
    Mutant(
        "reach-falls",
        "stream/judge/shell/pending.py",
        "max(self._reached.get(unit, (0, 0)), (timestamp_ms, offset))",
        "(timestamp_ms, offset)",
        "A row reports that it contains less than it does, so that an older one replaces it.",
        ("tests/judge/shell/test_pending.py",),
    ),
    Mutant(
        "epoch-merged-whole",
        "detectors/merging.py",
        "    return Step.FULL if profile.epoch.first_offset >= reached[0] else Step.BASE\n",
        "    return Step.FULL\n",
        "A new epoch that overlaps what was merged is merged whole.",
        ("tests/judge/test_shard.py",),
    ),
    Mutant(
        "behind-is-next",
        "detectors/merging.py",
        "        return Step.NEXT if place(newest) >= reached else Step.BASE\n",
        "        return Step.NEXT\n",
        "Events that another epoch has contributed are merged a second time.",
        ("tests/judge/test_shard.py",),
    ),
    Mutant(
        "old-epoch-comes-back",
        "detectors/merging.py",
        "    old = profile.epoch in passed or coming < standing\n",
        "    old = coming < standing\n",
        "An epoch that was left comes back by records that are read again.",
        ("tests/judge/test_shard.py",),
    ),
    Mutant(
        "missing-of-shards",
        "detectors/merging.py",
        "        events - count - invalid,\n",
        "        sum(p.missing for p in parts),\n",
        "Events of shards that never had a feature are not missing.",
        ("tests/judge/test_totals.py",),
    ),
    Mutant(
        "evidence-doubled",
        "stream/judge/shard.py",
        "            new = counts.minus(self.counts)\n",
        "            new = counts\n",
        "Every profile brings all counts of its epoch as evidence again.",
        (JUDGE,),
    ),
    Mutant(
        "reach-of-the-last-profile",
        "stream/judge/shard.py",
        "self.profile, self.reached = profile, max(self.reached, merging.place(profile))",
        "self.profile, self.reached = profile, merging.place(profile)",
        "The counts of an earlier epoch are forgotten when the next one begins behind it.",
        ("tests/judge/test_shard.py",),
    ),
    Mutant(
        "signals-again",
        "stream/judge/unit.py",
        "            effects += new_signals(self.unit, before, profile)\n",
        "            effects += new_signals(self.unit, None, profile)\n",
        "Each profile publishes all signals of its shard again.",
        ("tests/judge/test_judge.py::test_a_signal_is_published_once_though_each_profile_holds_it_again",),
    ),
    Mutant(
        "part-not-restored",
        "stream/judge/unit.py",
        "        self.retraining.restore(snapshot.record_of(RetrainingState, members))\n",
        "",
        "After a restart a model asks for a retraining again that it has asked for.",
        ("tests/judge/test_recordings.py",),
    ),
    Mutant(
        "share-lost-at-restore",
        "stream/judge/judge.py",
        """        judge = self.guard.restore(unit, blob)
        if not judge.standing.away:
            self._share(unit, self._share_of(judge))
""",
        """        judge = self.guard.restore(unit, blob)
""",
        "After a restart the units of a model do not share its budget of false alarms.",
        (CORES, WHOLE),
    ),
    Mutant(
        "budget-not-divided",
        "stream/judge/current_reference.py",
        "            self.watch.evidence.divide_budget(1 / sharers, self.watch.evidence.beside)\n",
        "            self.watch.evidence.divide_budget(1.0, self.watch.evidence.beside)\n",
        "Every version of a model has the model's whole budget of false alarms.",
        ("tests/judge/test_recordings.py",),
    ),
    Mutant(
        "look-in-order-of-arrival",
        "stream/judge/slot_buffer.py",
        "        found.sort(key=lambda one: _order(one.profile))\n        return Due(",
        "        return Due(",
        "The profiles of a look are judged in the order in which they arrived.",
        ("tests/judge/test_slots.py",),
    ),
    Mutant(
        "grid-lost-at-restore",
        "stream/judge/slot_buffer.py",
        "self._recent = state.looked_ms, state.look_level, state.recent_by_shard",
        "self._recent = state.looked_ms, 0, state.recent_by_shard",
        "After a restart the next look ends on a finer grid.",
        (WHOLE,),
    ),
    Mutant(
        "first-slot-closes-its-end",
        "stream/judge/slot_buffer.py",
        "            self.closed[place] = end_ms - 1\n",
        "            self.closed[place] = end_ms\n",
        "A look does not wait for the first slots of other units that end there, and shares the budget with too few.",
        ("tests/judge/test_slots.py",),
    ),
    Mutant(
        "frontier-of-the-furthest",
        "stream/judge/frontier.py",
        "if lowest is None or bound < lowest:",
        "if lowest is None or bound > lowest:",
        "Looks do not wait for the partition that is furthest behind.",
        ("tests/judge/test_slots.py",),
    ),
    Mutant(
        "idle-as-far-as-the-others",
        "stream/judge/frontier.py",
        "            return newest_ms + waited_ms - self._disorder_ms\n",
        "            return newest_ms + waited_ms\n",
        "A partition that was read to its end counts as far as the others, without the disorder that is allowed.",
        (
            "tests/judge/test_slots.py::test_a_partition_that_was_read_to_its_end_counts_as_far_as_the_others_less_the_disorder",
        ),
    ),
    Mutant(
        "added-partition-not-waited-for",
        "stream/judge/frontier.py",
        "max(self._counts.get(mark.topic, 0), mark.partitions, mark.partition + 1)",
        "max(self._counts.get(mark.topic, 0), mark.partition + 1)",
        "A partition of which no mark has come is not waited for.",
        ("tests/judge/test_slots.py",),
    ),
    Mutant(
        "quarantined-never-committed",
        "stream/judge/judge.py",
        "            self._waiting.pass_over(unit, offset)\n",
        "",
        "The profiles of a unit in quarantine are never done, so nothing beyond them is committed.",
        ("tests/judge/shell/test_quarantine.py",),
    ),
    Mutant(
        "quarantine-of-the-judge-lost",
        "stream/judge/quarantine.py",
        "        self.places = dict(state.quarantined)\n",
        "        self.places = {name: one for name, one in state.quarantined.items() if name != JUDGE}\n",
        "A unit that the judge failed on is judged again after a restart though nobody released it.",
        ("tests/judge/shell/test_quarantine.py",),
    ),
    Mutant(
        "one-unit-ends-the-judge",
        "stream/judge/guard.py",
        "            self._quarantine(judge, stage, error)\n            return []\n",
        "            raise\n",
        "An unexpected error in the work on one unit ends the judge.",
        ("tests/judge/shell/test_quarantine.py",),
    ),
    Mutant(
        "block-lost-at-restore",
        "detectors/evidence/e_detector.py",
        "        self._block_ms, self._block_events = state.block_ms, state.block_events\n        return True\n",
        "        return True\n",
        "After a restart a second of evidence begins anew, so its cap is used twice.",
        ("tests/evidence/test_evidence.py",),
    ),
    Mutant(
        "time-is-evidence",
        "detectors/evidence/e_detector.py",
        "            if weights[at] == 0.0:\n                continue",
        "            if False:\n                continue",
        "Time alone becomes evidence for a component without a bet.",
        ("tests/evidence/test_evidence.py",),
    ),
    Mutant(
        "season-weights-of-one",
        "detectors/evidence/explanations.py",
        "WEIGHTS = (1 / 2, 1 / 6, 1 / 3, 1 / 3)\n",
        "WEIGHTS = (1.0, 1.0, 1.0, 1.0)\n",
        "Each explanation has the whole budget of false alarms.",
        ("tests/evidence/test_explanations.py::test_the_explanations_share_one_budget_of_false_alarms",),
    ),
    Mutant(
        "season-records-lost",
        "detectors/evidence/explanations.py",
        "        self._climbs = np.frombuffer(state.records).reshape(3, -1).copy()\n",
        "",
        "The records that long sessions set are lost at a restore, and the next one is an alarm.",
        ("tests/evidence/test_explanations.py::test_a_watch_that_is_restored_judges_as_the_one_that_was_not",),
    ),
    Mutant(
        "season-without-records",
        "detectors/evidence/explanations.py",
        "own * min(highest / known, 1.0) if own > 0.0 else own",
        "own",
        "Evidence that climbs no higher than it did before by itself counts in full.",
        (
            "tests/evidence/test_explanations.py::test_evidence_counts_in_full_once_it_climbs_far_above_what_ended_by_itself",
        ),
    ),
    Mutant(
        "hours-not-kept",
        "detectors/evidence/hours.py",
        "        self._stamps[place] = self.hour\n",
        "",
        "No hour is remembered, so the season is never known.",
        ("tests/evidence/test_explanations.py::test_a_step_of_every_day_is_reported_once_and_known_from_then_on",),
    ),
    Mutant(
        "lag-hidden-by-quiet",
        "stream/judge/sight.py",
        "        if (lag := self._lag(now_ms, health)) is not None:\n            return BlindReason.LAG, lag\n",
        "",
        "A model whose events wait to be read is stable or quiet.",
        ("tests/judge/test_judge.py::test_only_silence_lag_and_unreadable_records_make_it_blind",),
    ),
    Mutant(
        "late-events-are-quiet",
        "stream/judge/sight.py",
        "        if found.silence in QUIET and self._late < self._rules.invalid_records:\n",
        "        if found.silence in QUIET:\n",
        "A model that sends only late events at a quiet hour is quiet.",
        ("tests/judge/test_silence.py::test_quiet_hides_neither_a_lag_nor_an_unreadable_topic_nor_late_events",),
    ),
    Mutant(
        "few-unreadable-are-blind",
        "stream/judge/sight.py",
        "invalid >= rules.invalid_records and invalid >= rules.invalid_share * records:",
        "invalid >= rules.invalid_records:",
        "A model is blind for a small share of records that cannot be read.",
        ("tests/judge/test_judge.py::test_only_silence_lag_and_unreadable_records_make_it_blind",),
    ),
    Mutant(
        "quiet-hides-drift",
        "stream/judge/standing.py",
        "        hidden = self.sight.quiet is not None and state in (State.LEARNING, State.STABLE)\n",
        "        hidden = self.sight.quiet is not None\n",
        "A model with an open incident is quiet at night.",
        ("tests/judge/test_silence.py::test_quiet_does_not_hide_an_open_incident",),
    ),
    Mutant(
        "one-silent-night-is-usual",
        "detectors/incidents/activity.py",
        "            needed = len(own) // 2 + 1 if apart is DAYS else (len(own) + 1) // 2\n",
        "            needed = 1\n",
        "A silence counts as usual once it came on one day of seven.",
        (
            "tests/judge/test_silence.py::test_a_silence_that_came_on_one_noon_of_a_week_is_not_usual_and_one_of_most_noons_is",
        ),
    ),
    Mutant(
        "patience-too-short",
        "detectors/incidents/blindness.py",
        "max(factor * self.mean_ms, 3 * self.longest_ms, float(least_ms))",
        "max(factor * self.mean_ms, float(least_ms))",
        "A model with irregular events is blind in every longer gap.",
        ("tests/judge/test_silence.py::test_the_longest_usual_silence_follows_from_the_mean_and_from_the_longest_gap",),
    ),
    Mutant(
        "damaged-row-read",
        "stream/judge/snapshot.py",
        'zlib.crc32(body) != int.from_bytes(blob[6:10], "little") or (schema',
        "(schema",
        "A judge's row with a flipped bit is read.",
        ("tests/judge/test_judge.py::test_a_broken_snapshot_is_refused_by_name",),
    ),
)
