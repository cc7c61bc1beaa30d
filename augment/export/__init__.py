"""Finished adapters as files of other programs: kohya's sd-scripts, the webui, diffusers."""
