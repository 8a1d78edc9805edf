"""Where the contents of models are kept, and how objects become bytes and bytes become objects again."""
