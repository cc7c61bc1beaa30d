"""Fine-tunes a base on a few images of each class."""
