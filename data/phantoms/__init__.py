"""The embedded data set: dermoscopy-like images drawn by a program."""
