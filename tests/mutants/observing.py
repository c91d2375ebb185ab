"""Planted bugs of the observe stage: observer, slots, quarantine, runner, saver, outbox, restore, checkpoints."""

from tests.mutants.mutant import Mutant

WHOLE = "tests/simulation/test_whole.py"
CORES = "tests/simulation/event_time/test_cores.py::test_looks_incidents_and_references_are_those_of_the_ordered_run"
SAVER = "tests/observe/shell/test_saver.py"
RUNNER = "tests/observe/shell/test_runner.py"
OBSERVER = "tests/observe/test_observer.py"

MUTANTS = (
    Mutant(
        "revoked-state-kept",
        "stream/observe/shell/runner.py",
        """            if self._progress.lose(place):
                self._observer.drop(place)
""",
        """            self._progress.lose(place)
""",
        "The state of a revoked partition is kept, and goes on publishing.",
        (RUNNER,),
    ),
    Mutant(
        "old-poll-processed",
        "stream/observe/shell/runner.py",
        """        if self._polling.outdated:
            self._leave_unread(batches)
        else:
""",
        """        if True:
""",
        "Records of a poll that began before the group changed are processed.",
        (WHOLE,),
    ),
    Mutant(
        "old-poll-not-sought",
        "stream/observe/shell/runner.py",
        "                self._source.seek(place, self._progress.next[place])\n\n    async def _process",
        "                pass\n\n    async def _process",
        "Records of a poll that began before the group changed are left out and never read again.",
        (WHOLE,),
    ),
    Mutant(
        "last-profiles-dropped",
        "stream/observe/shell/runner.py",
        "                last = self._timer.last(self._clock.now_ms())\n",
        "                last = self._timer.last(self._clock.now_ms())[:0]\n",
        "A worker that stops does not publish what it has not published yet.",
        (RUNNER,),
    ),
    Mutant(
        "durable-before-manifest",
        "stream/observe/shell/saver.py",
        """        await self._send(place, [self._record(place, *checkpoint.manifest())])
        if place in self._held:
            checkpoint.acknowledged()
""",
        """        checkpoint.acknowledged()
        await self._send(place, [self._record(place, *checkpoint.manifest())])
        if place in self._held:
""",
        "Epochs may be published before the manifest that holds them is acknowledged.",
        (SAVER,),
    ),
    Mutant(
        "durable-at-once",
        "stream/observe/unit.py",
        "        self.dirty, self.durable, self.unpublished = True, False, False\n        self.stamp",
        "        self.dirty, self.durable, self.unpublished = True, True, False\n        self.stamp",
        "A new unit is published before any checkpoint holds the beginning of its epoch.",
        (SAVER,),
    ),
    Mutant(
        "switch-published-at-once",
        "stream/observe/unit.py",
        "        self.dirty, self.durable, self.unpublished = True, False, True\n        return last\n",
        "        self.dirty, self.durable, self.unpublished = True, True, True\n        return last\n",
        "An epoch under a new reference is published before any checkpoint holds it.",
        (f"{OBSERVER}::test_a_new_reference_begins_an_epoch_that_waits_for_its_checkpoint",),
    ),
    Mutant(
        "manifest-before-units",
        "stream/observe/shell/saver.py",
        """        await self._send_units(place, batch)
        if place not in self._held:
            return size
        await self._send(place, [self._record(place, *checkpoint.manifest())])
""",
        """        await self._send(place, [self._record(place, *checkpoint.manifest())])
        await self._send_units(place, batch)
""",
        "The manifest is written before the units that it names.",
        (SAVER,),
    ),
    Mutant(
        "checkpoint-before-outputs",
        "stream/observe/shell/saver.py",
        "        checkpoint = self._observer.checkpoint(place)\n        await self._outbox.acknowledged()\n",
        "        checkpoint = self._observer.checkpoint(place)\n",
        "A checkpoint does not wait for the dead letters and profiles of the records that it holds.",
        (SAVER,),
    ),
    Mutant(
        "units-before-profiles",
        "stream/observe/shell/saver.py",
        "        if records:\n"
        "            await self._outbox.acknowledged()\n"
        "            await self._send(place, records)\n",
        "        if records:\n            await self._send(place, records)\n",
        "A unit's record is written before the profiles of the slots that it has handed out.",
        (SAVER,),
    ),
    Mutant(
        "commit-one-too-far",
        "stream/observe/shell/saver.py",
        "await self._source.commit({place: offset})",
        "await self._source.commit({place: offset + 1})",
        "The group's commit is one beyond the checkpoint.",
        (RUNNER,),
    ),
    Mutant(
        "profiles-by-unit",
        "stream/observe/shell/outbox.py",
        "            partition = keys.model_partition(profile.model, self._profile_partitions)\n            try:",
        "            partition = keys.partition_of(keys.unit_key(profile.unit), self._profile_partitions)\n"
        "            try:",
        "Versions of a model lie in several partitions of the profiles topic, so several judges share its budget.",
        ("tests/observe/shell/test_outbox.py",),
    ),
    Mutant(
        "mark-in-one-partition",
        "stream/observe/shell/outbox.py",
        "for partition in range(self._profile_partitions)",
        "for partition in range(1)",
        "A mark lies in one partition of the profiles topic, so judges of the others wait for ever.",
        (WHOLE,),
    ),
    Mutant(
        "acknowledged-when-begun",
        "stream/observe/shell/outbox.py",
        "        await self.flush()\n        await self._wait_for_batch()\n",
        "        await self.flush()\n",
        "Output counts as acknowledged when its sending has begun.",
        ("tests/observe/shell/test_outbox.py",),
    ),
    Mutant(
        "restore-before-references",
        "stream/observe/shell/restore.py",
        "            await self._references.catch_up()\n",
        "",
        "A partition is restored before the references are read that its epochs are under.",
        (RUNNER,),
    ),
    Mutant(
        "restore-seeks-one-too-far",
        "stream/observe/shell/restore.py",
        "            self._source.seek(place, offset)\n",
        "            self._source.seek(place, offset + 1)\n",
        "A restored partition is read from one record too late.",
        (f"{RUNNER}::test_every_event_is_counted_once_and_a_restart_repeats_none",),
    ),
    Mutant(
        "end-before-it-is-read",
        "stream/observe/shell/timer.py",
        "            if end is not None and end <= self._positions[place]:",
        "            if end is not None:",
        "A mark reports a partition as read to its end while records of it are left.",
        (WHOLE,),
    ),
    Mutant(
        "lag-one-too-small",
        "stream/observe/shell/progress.py",
        "max(0, end - self.next[place])",
        "max(0, end - self.next[place] - 1)",
        "The last record of a partition counts as no lag.",
        ("tests/observe/shell/test_progress.py",),
    ),
    Mutant(
        "next-ahead-of-effects",
        "stream/observe/partition.py",
        "        self.next, self._clock_ms = assigned.returned\n",
        "        self.next, self._clock_ms = assigned.position, assigned.clock_ms\n",
        "A checkpoint in a break holds records whose dead letters and profiles have not been returned.",
        (f"{OBSERVER}::test_a_checkpoint_in_a_break_holds_no_record_whose_effects_were_not_returned",),
    ),
    Mutant(
        "clock-not-restored",
        "stream/observe/partition.py",
        "        self.clock_ms = next((clock for clock in found if clock is not None), None)\n",
        "        self.clock_ms = None\n",
        "A restored partition begins with no clock, so its events count in other slots.",
        (CORES,),
    ),
    Mutant(
        "mark-ahead-of-kept-slots",
        "stream/observe/partition.py",
        "min([clock_ms, *(unit.cuts.first_kept_ms - 1 for unit in self.units.values() if unit.keeps)])",
        "clock_ms",
        "A mark stands for slots whose profiles may not be published yet.",
        ("tests/observe/test_slots.py",),
    ),
    Mutant(
        "ignored-rows-not-added",
        "stream/observe/partition.py",
        "ignored=held.ignored + rows",
        "ignored=rows",
        "The number of events that a quarantine ignores begins again with every batch.",
        ("tests/observe/test_quarantine.py",),
    ),
    Mutant(
        "quarantine-lost-at-restore",
        "stream/observe/unit_work.py",
        "        if held is not None:\n            assigned.enter_quarantine(unit, held)\n",
        "        if held is not None and not blob:\n            assigned.enter_quarantine(unit, held)\n",
        "A unit is watched again after a restart though nobody released it.",
        ("tests/observe/test_quarantine.py",),
    ),
    Mutant(
        "release-ends-any-quarantine",
        "stream/observe/unit_work.py",
        '        if held is None or request in ("", held.request):\n',
        '        if held is None or request == "":\n',
        "A request to release a unit ends every quarantine that begins later.",
        ("tests/observe/test_quarantine.py",),
    ),
    Mutant(
        "restore-off-by-one",
        "stream/observe/observer.py",
        "batch.next_offsets > (assigned.floor if unit is None else unit.skip_below)",
        "batch.next_offsets >= (assigned.floor if unit is None else unit.skip_below)",
        "The last record of a checkpoint is counted again after a restore.",
        (f"{OBSERVER}::test_a_torn_checkpoint_and_a_zombies_record_count_every_event_once",),
    ),
    Mutant(
        "dead-letters-again",
        "stream/observe/observer.py",
        "            if record.offset >= assigned.floor:\n",
        "            if True:\n",
        "Records below the checkpoint become dead letters again after a restore.",
        (
            "tests/observe/test_observer.py::test_records_below_the_manifest_make_no_dead_letters_again_when_a_unit_is_read_again",
        ),
    ),
    Mutant(
        "rows-do-not-make-dirty",
        "stream/observe/unit.py",
        "        waiting.append(part)\n        self.dirty = self.unpublished = True\n",
        "        waiting.append(part)\n        self.unpublished = True\n",
        "New events of a unit are in no checkpoint.",
        (f"{OBSERVER}::test_a_torn_checkpoint_and_a_zombies_record_count_every_event_once",),
    ),
    Mutant(
        "stamp-below-skip",
        "stream/observe/unit.py",
        "max(position, self.skip_below), sum(self.labels.values())",
        "position, sum(self.labels.values())",
        "A unit that was restored ahead of its partition is stamped below what it holds.",
        ("tests/observe/test_observer.py::test_a_unit_that_is_ahead_of_its_partition_is_saved_as_far_as_it_is",),
    ),
    Mutant(
        "clock-set-back-holds-back",
        "stream/observe/unit.py",
        "not -more_ms <= now_ms - self.published_at_ms < interval_ms",
        "not now_ms - self.published_at_ms < interval_ms",
        "A unit publishes nothing for as long as the wall clock was set back.",
        ("tests/observe/test_time.py",),
    ),
    Mutant(
        "known-ids-lost",
        "stream/observe/counts.py",
        "        self._recent.restore(newer, older)\n",
        "        self._recent.restore(newer, older[:0])\n",
        "The older half of the known ids is lost at a restore, so repeats count.",
        ("tests/observe/test_observer.py::test_ids_of_both_generations_are_known_after_a_restore",),
    ),
    Mutant(
        "labels-position-lost",
        "stream/observe/counts.py",
        "        self.labels = state.labels\n",
        "        self.labels = {}\n",
        "The position of the labels that a unit holds is lost at a restore.",
        ("tests/labels",),
    ),
    Mutant(
        "left-out-rows-not-counted",
        "stream/observe/counts.py",
        "        self._leave_out(left_out, done, len(clocks))\n",
        "",
        "Late and repeated rows at the end of a batch are in no outcome.",
        ("tests/observe/test_observer.py::test_every_row_is_in_exactly_one_outcome_and_profiles_add_up",),
    ),
    Mutant(
        "slot-takes-its-end",
        "stream/observe/slots.py",
        'side="left"',
        'side="right"',
        "An event at the end of a slot counts in that slot and not in the next one.",
        ("tests/observe/test_slots.py::test_an_event_at_the_end_of_a_slot_counts_in_the_next_one",),
    ),
    Mutant(
        "longer-slot-off-the-grid",
        "stream/observe/slots.py",
        " and state.end_ms % (self._base_ms << (level + 1)) == 0:",
        ":",
        "A slot becomes longer where no longer slot begins, so shards do not end together.",
        ("tests/observe/test_slots.py::test_a_longer_slot_begins_where_one_of_its_length_begins",),
    ),
    Mutant(
        "slots-beyond-the-clock",
        "stream/observe/cuts.py",
        "(self.kept[count - 1].slot_end_ms or 0) > clock_ms:",
        "False:",
        "A checkpoint that is ahead of its partition publishes slots beyond the clock.",
        ("tests/observe/test_slots.py::test_slots_that_end_beyond_the_clock_are_kept",),
    ),
    Mutant(
        "first-slot-again",
        "stream/observe/cuts.py",
        "self.last, self.clock_ms, self.begun = state.last, state.clock_ms, state.begun",
        "self.last, self.clock_ms, self.begun = state.last, state.clock_ms, True",
        "After a restore a unit counts as one whose first slot was published, so its siblings' first slots come late.",
        (
            "tests/observe/test_slots.py::test_the_first_slot_of_a_sibling_is_published_before_a_later_slot_of_another_unit_of_the_model",
        ),
    ),
    Mutant(
        "environments-at-wrong-rows",
        "stream/observe/waiting.py",
        "[(rows + row, text) for row, text in part.environments]",
        "[(row, text) for row, text in part.environments]",
        "Environments of rows that waited together belong to other rows.",
        (f"{OBSERVER}::test_profiles_of_looks_stand_at_the_same_places_of_the_log",),
    ),
    Mutant(
        "forgotten-keeps-its-place",
        "stream/observe/places.py",
        "last_ms <= self._forgotten.get(unit.key, -1)",
        "last_ms < -1",
        "A model version that was forgotten keeps its place, and a new one is refused.",
        ("tests/observe/test_places.py",),
    ),
    Mutant(
        "zombie-believed",
        "stream/topics/checkpoints.py",
        "max(stamp, manifest.next) if stamp == wanted.get(unit) else stamp for unit",
        "max(stamp, manifest.next) for unit",
        "A record that a replaced worker wrote over a newer one is believed, and its unit's events are lost.",
        ("tests/topics/test_checkpoints.py",),
    ),
    Mutant(
        "seek-to-manifest",
        "stream/topics/checkpoints.py",
        "    return _from_begin(min([manifest.next, *skip.values()]), manifest.next, skip, begin)\n",
        "    return _from_begin(manifest.next, manifest.next, skip, begin)\n",
        "What a replaced worker took back is not read again.",
        ("tests/topics/test_checkpoints.py",),
    ),
    Mutant(
        "damaged-checkpoint-read",
        "stream/topics/checkpoints.py",
        "    if zlib.crc32(record.blob) != record.crc or record.size > MAX_PLAIN_BYTES:\n",
        "    if record.size > MAX_PLAIN_BYTES:\n",
        "A checkpoint with a flipped bit is read.",
        ("tests/topics/test_checkpoints.py",),
    ),
    Mutant(
        "keys-of-two-units-alike",
        "stream/topics/checkpoints.py",
        'quote(unit.model, safe="")',
        "quote(unit.model)",
        "The names of two units can have one key, so one checkpoint overwrites another.",
        ("tests/topics/test_checkpoints.py",),
    ),
    Mutant(
        "labels-from-the-furthest",
        "stream/topics/checkpoints.py",
        "min(part.get(name, 0) for part in positions)",
        "max(part.get(name, 0) for part in positions)",
        "Labels are read from where the furthest unit was, and the others lack some.",
        ("tests/labels",),
    ),
    Mutant(
        "oldest-of-a-key",
        "stream/topics/keys.py",
        "            found[record.key] = record\n",
        "            found.setdefault(record.key, record)\n",
        "A table holds the oldest record of each key.",
        ("tests/backends/test_contract.py",),
    ),
)
