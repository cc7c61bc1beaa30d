"""Validates a data set before anything is trained: `python -m data.doctor CONFIG`."""
