"""Where images and their table come from."""
