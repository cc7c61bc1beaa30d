"""What each click does: values in, values and Gradio's updates out. A user's mistake is a line on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import gradio as gr

from augment.diffusion.prompt_weighting import Emphasis
from augment.finetune.stopping import request_stop
from data.errors import InputError
from flows.page import show
from flows.page.accepted import AcceptedSet, arms_setting
from flows.page.masks import painted
from flows.page.request import source_photographs
from flows.page.session import PageSession
from flows.page.settings import DrawSettings, Redraw

_FROM_NOISE = ("none: draw from noise", "")


class Events:
    """The functions that components call."""

    def __init__(self, session: PageSession) -> None:
        self._session = session

    def header(self) -> str:
        """The head of the page, anew."""
        return show.header(self._session.opened)

    def sets(self) -> str:
        """The accepted sets, anew."""
        return show.sets(self._session.opened)

    def training(self) -> str:
        """The fine-tunes, anew."""
        return show.training(self._session.opened)

    def choose_class(self, label: str) -> tuple[Any, ...]:
        """The generators, prompt, source photographs and real images of a class."""
        opened = self._session.opened
        generators = opened.generators(label)
        names, prompt = [each.name for each in generators], generators[0].prompt if generators else ""
        shots = list(source_photographs(opened, label).table["image_id"])
        return (
            gr.Dropdown(names, value=names[0] if names else None),
            prompt,
            gr.Dropdown([_FROM_NOISE, *((each, each) for each in shots)], value=""),
            show.real(self._session, label),
            "",
        )

    def choose_generator(self, label: str, name: str) -> str:
        """The prompt that goes with a generator."""
        return self._session.opened.generator(label, name).prompt

    def choose_source(self, label: str, image_id: str) -> str:
        """The photograph to paint on."""
        return show.source(self._session, label, image_id or "")

    def draw(self, *values: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - of fourteen components
        """Draw, and show how far it is: status, images, key, Draw, Stop, the decision, the setting."""
        try:
            asked, mask = _asked(values)
            drawing = self._session.begin(asked, painted(mask) if asked.redraw == "painted" else None)
        except InputError as fault:
            yield show.status(message=str(fault), kind="failed"), *[gr.skip()] * 6
            return
        shown = -1
        for each in self._session.follow(drawing):
            state = each.state
            if state.is_over:
                found = self._session.cards(each)
                yield (
                    show.status(state), show.cards(self._session, found), each.key, gr.Button(interactive=True),
                    gr.Button(interactive=False), gr.Group(visible=bool(found)), gr.Textbox(visible=False),
                )  # fmt: skip
                return
            images = show.growing(self._session, each.paths) if state.images != shown else gr.skip()
            shown = state.images
            busy = gr.Button(interactive=False), gr.Button(interactive=True)
            yield show.status(state), images, "", *busy, gr.Group(visible=False), gr.Textbox(visible=False)

    def stop(self) -> None:
        """Stop what is drawn."""
        self._session.stop()

    def accept(self, key: str, name: str, ticked: Sequence[str], seed: float) -> tuple[Any, ...]:
        """Accept the ticked images, and reject the others of the drawing."""
        if not ticked:
            fault = "no image is ticked: tick those that are good, or press Reject all"
            return show.status(message=fault, kind="failed"), *[gr.skip()] * 5
        return self._decide(key, name, list(ticked), seed)

    def reject(self, key: str, name: str, seed: float) -> tuple[Any, ...]:
        """Reject every image of the drawing."""
        return self._decide(key, name, [], seed)

    def ask_to_end(self, labels: Sequence[str]) -> tuple[Any, str]:
        """Ask once more before a fine-tune is stopped."""
        if not labels:
            return gr.Row(visible=False), show.status(message="Tick the classes whose fine-tune is to stop.")
        return gr.Row(visible=True), ""

    def end(self, labels: Sequence[str]) -> tuple[Any, str]:
        """Stop these fine-tunes after their present step."""
        try:
            asked = request_stop(self._session.opened.study.folder, labels)
        except InputError as fault:
            return gr.Row(visible=False), show.status(message=str(fault), kind="failed")
        message = f"Asked to stop after the present step: {', '.join(asked)}."
        return gr.Row(visible=False), show.status(message=message)

    def _decide(self, key: str, name: str, accepted: list[str], seed: float) -> tuple[Any, ...]:
        """Status, images, the decision, the setting, the next seed, the sets."""
        opened = self._session.opened
        try:
            into = AcceptedSet.of(opened.study.folder, name.strip())
            added, rejected = self._session.decide(key, accepted, into)
        except InputError as fault:
            return show.status(message=str(fault), kind="failed"), *[gr.skip()] * 5
        known = len(accepted) - added
        message = f"{added} accepted into {into.name}, {rejected} rejected" + (
            f", {known} known before" if known else ""
        )
        setting = gr.Textbox(arms_setting(opened.study.arms, into), visible=bool(accepted))
        return (
            show.status(message=f"{message}. The seed is the next one: Draw makes other images.", kind="finished"),
            show.cards(self._session, []), gr.Group(visible=False), setting, int(seed) + 1, show.sets(opened),
        )  # fmt: skip


def _asked(values: Sequence[Any]) -> tuple[DrawSettings, str]:
    """The request in the components' values, and the painted mask as the browser sent it. Raises InputError."""
    (label, generator, prompt, negative, emphasis, sampler, steps, guidance, count, seed, source, strength, redraw,
     mask) = values  # fmt: skip
    if not generator:
        raise InputError(
            "no generator is there yet: wait until the study has trained its base, and choose the class again"
        )
    asked = DrawSettings(
        label=str(label),
        generator=str(generator),
        prompt=str(prompt or ""),
        negative_prompt=str(negative or ""),
        emphasis=cast("Emphasis", emphasis),
        sampler=str(sampler or ""),
        steps=int(steps),
        guidance_scale=float(guidance),
        count=int(count),
        seed=int(seed or 0),
        source_image=str(source or ""),
        strength=float(strength),
        redraw=cast("Redraw", redraw),
    )
    return asked, str(mask or "")
