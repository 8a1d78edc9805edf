"""How the log looks elsewhere: flat rows, CloudEvents, pictures."""
