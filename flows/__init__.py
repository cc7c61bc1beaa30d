"""Wires the stages together; the only layer that imports Prefect. Importing it turns telemetry off."""

import os

for _name, _value in {
    "DO_NOT_TRACK": "1",  # prefect reads it while it is imported
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "NO_ALBUMENTATIONS_UPDATE": "1",
}.items():
    os.environ.setdefault(_name, _value)
