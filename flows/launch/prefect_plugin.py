"""Prefect plugin: `prefect deployment run augment-and-evaluate`, a bare name, means the default deployment.

It also gives Prefect the auth string of the server that this program started, so that the user need not.

Prefect's command line wants FLOW/DEPLOYMENT. Its public hook runs while `prefect` is imported, before the
command line reads `sys.argv`; `prefect.toml` in the project's folder turns the plugin on, nowhere else.
"""

from __future__ import annotations

import os
import sys

from prefect.plugins import HookContext, register_hook

from flows.launch.auth import VARIABLE, auth_string

FLOW, DEFAULT = "augment-and-evaluate", "augment-and-evaluate/demo"


@register_hook
def setup_environment(*, ctx: HookContext) -> None:
    """Complete the name on the command line, and set the auth string."""
    sys.argv[1:] = completed(sys.argv[1:])
    if found := auth_string(ctx.api_url or ""):
        os.environ[VARIABLE] = found  # not returned: `prefect plugins diagnose` would show it


def completed(arguments: list[str]) -> list[str]:
    """Arguments of `prefect`, a bare flow name completed where a deployment's name is meant."""
    if arguments[:1] != ["deployment"]:
        return arguments
    before = ["", *arguments]
    return [
        DEFAULT if word == FLOW and (not before[i].startswith("-") or before[i] == "--watch") else word
        for i, word in enumerate(arguments)
    ]
