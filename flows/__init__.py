"""Wires the stages together; the only floor that knows Prefect."""
