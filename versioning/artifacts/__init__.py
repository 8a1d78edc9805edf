"""Where the contents of models are kept, and how objects become bytes and objects again."""
