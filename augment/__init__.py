"""Generates images: base model, fine-tuning, sampling. Never imports classify."""
