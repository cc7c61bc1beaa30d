"""Train, validation and test parts that share no leakage group, and what may be counted on them."""
