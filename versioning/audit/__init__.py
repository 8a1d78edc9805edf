"""Whether the log can be believed: checkpoints, verification, and moving a log from one store to another."""
