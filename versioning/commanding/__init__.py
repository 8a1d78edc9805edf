"""How a command becomes facts: a request whose arguments are checked, and the decision that is recorded."""
