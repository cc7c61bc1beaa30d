"""The stages of a study, a file each: `plan` says which steps there are, `make` makes one of them."""
