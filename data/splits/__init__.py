"""Train, validation and test parts that share no leakage group, and what depends on them."""
