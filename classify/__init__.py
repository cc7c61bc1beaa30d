"""Classifies images: training, predictions, metrics. Never imports augment."""
