"""Whether the log can be believed: checkpoints, verification, and logs that leave one store for another."""
