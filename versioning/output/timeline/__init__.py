"""The picture of a history: as a drawing, and as a page."""
