"""Prints the scalars below a folder as TensorBoard's own reader sees them: {tag: [[step, value, wall time], ...]}."""

import json
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0}, purge_orphaned_data=False)
events.Reload()
tags = events.Tags()["scalars"]
print(json.dumps({tag: [[e.step, e.value, e.wall_time] for e in events.Scalars(tag)] for tag in tags}))
