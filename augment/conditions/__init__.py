"""Condition images: what is made of a photograph for a ControlNet to follow."""
