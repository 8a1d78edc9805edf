"""The picture of a history."""
