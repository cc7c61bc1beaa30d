"""Generates synthetic images with a fine-tuned base."""
