"""Fine-tunes that were stopped by request: what is made with such an adapter has a digest of its own.

The adapter lies where one of all steps would lie. What follows depends on the step at which it was stopped as well, so
that images and classifiers of the one are never taken for those of the other.
"""

from __future__ import annotations

from augment.methods.record import AdapterRecord, Stopped
from data.errors import BaseError
from data.store import digest
from flows.steps import Step


def stopped(step: Step) -> Stopped | None:
    """At which step a fine-tune was stopped; None: it was not, or has not been made."""
    try:
        return AdapterRecord.read(step.target).stopped
    except BaseError:
        return None


def adapter_digest(step: Step) -> str:
    """Digest of a fine-tune's adapter as it was made, or will be: the step's own unless it was stopped."""
    found = stopped(step)
    return step.digest if found is None else digest(step.digest, "stopped at", found.step)


def note(step: Step) -> str:
    """What whoever uses the adapter has to know; "" for one that was not stopped."""
    found = stopped(step)
    return "" if found is None else f"{found.in_words}; delete {step.target} to have it trained to its end"
