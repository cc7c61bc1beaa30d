"""Ways to personalise a base: one file each, listed in `augment.methods.table`."""
