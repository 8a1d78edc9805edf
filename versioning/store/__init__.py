"""How facts are kept: the stored format, the contract that every store keeps, and the engines that keep it."""
