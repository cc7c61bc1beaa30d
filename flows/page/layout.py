"""The page's components, and which function of `events` each click calls. Nothing is decided here."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import gradio as gr

from flows.page import show
from flows.page.events import Events
from flows.page.request import source_photographs
from flows.page.session import PageSession
from flows.page.settings import EMPHASES, MOST, Redraw, samplers

HERE = Path(__file__).parent
_REFRESH = 3.0  # seconds between two looks at a fine-tune
_NONE = "none: draw from noise"
_REDRAWN = {
    "all": "all of it",
    "lesion": "the lesion, found by a threshold",
    "skin": "the skin around it",
    "painted": "what I paint",
}
# What is ticked and painted lives in the browser: these add it to what is sent.
_WITH_TICKED = (
    "(k, name, _, seed) => [k, name, [...document.querySelectorAll('.ll-pick:checked')].map(e => e.value), seed]"
)
_WITH_MASK = "(...sent) => [...sent.slice(0, -1), document.getElementById('ll-mask')?.toDataURL('image/png') ?? '']"


def build(session: PageSession) -> gr.Blocks:
    """The page of a session."""
    study, events = session.opened.study, Events(session)
    with gr.Blocks(title=f"{study.name} · lesionloom", analytics_enabled=False, fill_width=True) as page:
        header = gr.HTML(show.header(session.opened))
        with gr.Tab("Draw"):
            parts = _draw_tab(session)
        with gr.Tab("Fine-tunes") as tuning_tab:
            tuning = _tuning_tab(session)
        with gr.Tab("Sets") as sets_tab:
            sets = gr.HTML(show.sets(session.opened))
        _connect_drawing(parts, sets, events)
        _connect_tuning(tuning, tuning_tab, events)
        sets_tab.select(events.sets, None, sets, show_progress="hidden", api_visibility="private")
        page.load(events.header, None, header, show_progress="hidden", api_visibility="private")
        page.load(
            events.choose_class,
            parts.label,
            [parts.generator, parts.prompt, parts.source, parts.real, parts.canvas],
            show_progress="hidden",
            api_visibility="private",
        )
    return page.queue(api_open=False, default_concurrency_limit=4)


def theme() -> Any:  # noqa: ANN401 - Gradio's
    """Colours by page.css; the system's own fonts, so that none is fetched."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
    mono = ("ui-monospace", "SF Mono", "Menlo", "Consolas", "Liberation Mono", "monospace")
    return gr.themes.Base(primary_hue="sky", neutral_hue="stone", radius_size="sm", font=sans, font_mono=mono)


def _draw_tab(session: PageSession) -> SimpleNamespace:
    with gr.Row(equal_height=False, elem_id="ll-draw"):
        with gr.Column(scale=1, min_width=300, elem_id="ll-controls"):
            parts = _controls(session)
        with gr.Column(scale=3, min_width=300, elem_id="ll-results"):
            parts.status = gr.HTML(show.status(message="Choose a class and press Draw."), elem_id="ll-line")
            with gr.Row(equal_height=False, elem_id="ll-pair"):
                with gr.Column(scale=2, min_width=280):
                    parts.drawn = gr.HTML(show.cards(session, []))
                    _decision(parts)
                with gr.Column(scale=1, min_width=240):
                    parts.real = gr.HTML(show.real(session, session.opened.labels[0]))
    return parts


def _controls(session: PageSession) -> SimpleNamespace:
    opened, parts = session.opened, SimpleNamespace()
    label, sampling = opened.labels[0], opened.study.generate.sampling()
    generators = opened.generators(label)
    first = generators[0] if generators else None
    parts.label = gr.Radio(list(opened.labels), value=label, label="Class")
    parts.generator = gr.Dropdown(
        [each.name for each in generators], value=first.name if first else None, label="Method"
    )
    parts.prompt = gr.Textbox(
        first.prompt if first else "", label="Prompt", lines=2, max_lines=6, info=_emphasis_hint()
    )
    with gr.Row():
        parts.count = gr.Number(8, precision=0, minimum=1, maximum=MOST, label="Images", min_width=100)
        parts.seed = gr.Number(0, precision=0, minimum=0, label="Seed", min_width=100)
    with gr.Row():
        parts.draw = gr.Button("Draw", variant="primary", elem_id="ll-go", min_width=120)
        parts.stop = gr.Button("Stop", variant="stop", elem_id="ll-stop", interactive=False, min_width=90)
    with gr.Accordion("Sampler, steps, guidance", open=False):
        parts.sampler = gr.Dropdown(list(samplers(opened.study.generate).items()), value="", label="Sampler")
        parts.steps = gr.Number(sampling.steps, precision=0, minimum=1, maximum=1000, label="Steps")
        parts.guidance = gr.Number(
            sampling.guidance_scale, minimum=1, maximum=50, step=0.5, label="Guidance (1 is none)"
        )
        parts.negative = gr.Textbox(opened.study.generate.for_label(label).negative_prompt, label="Negative prompt")
        own = opened.study.generate.emphasis
        parts.emphasis = gr.Radio(list(EMPHASES), value=own, label="Emphasis of (words:1.3)")
    with gr.Accordion("Start from a photograph", open=False, visible=opened.shows_photographs, elem_id="ll-edit"):
        _edit_controls(session, parts, label)
    return parts


def _edit_controls(session: PageSession, parts: SimpleNamespace, label: str) -> None:
    shots = list(source_photographs(session.opened, label).table["image_id"])
    parts.source = gr.Dropdown([(_NONE, ""), *((each, each) for each in shots)], value="", label="Photograph")
    parts.canvas = gr.HTML("", elem_id="ll-painting")
    parts.strength = gr.Slider(0.05, 1, value=0.5, step=0.05, label="Strength (1 forgets the photograph)", buttons=[])
    choices = [(_REDRAWN[each], each) for each in get_args(Redraw)]
    parts.redraw = gr.Radio(choices, value="all", label="Redraw")
    parts.mask = gr.Textbox("", visible="hidden")


def _decision(parts: SimpleNamespace) -> None:
    parts.key, parts.ticked = gr.State(""), gr.JSON([], visible="hidden")
    with gr.Group(visible=False, elem_id="ll-decide") as parts.decide:
        parts.name = gr.Textbox("by-hand", label="Set, which becomes an arm of this name", max_lines=1)
        with gr.Row():
            parts.accept = gr.Button("Accept the ticked, reject the rest", variant="primary", elem_id="ll-accept")
            parts.reject = gr.Button("Reject all", elem_id="ll-reject")
    parts.setting = gr.Textbox(
        "", visible=False, label="To train on the set, add to: lesionloom run CONFIG", buttons=["copy"], lines=4,
        max_lines=8, interactive=False, elem_id="ll-setting",
    )  # fmt: skip


def _tuning_tab(session: PageSession) -> SimpleNamespace:
    parts, labels = SimpleNamespace(), [step.what for step in session.opened.steps("fine-tune")]
    parts.shown = gr.HTML(show.training(session.opened), elem_id="ll-tuning")
    with gr.Group(elem_id="ll-end"):
        parts.labels = gr.CheckboxGroup(labels, label="Stop a running fine-tune after its present step")
        parts.ask = gr.Button("Stop those that are ticked", elem_id="ll-ask")
        with gr.Row(visible=False) as parts.sure:
            parts.end = gr.Button("Stop now: the study goes on with what is learnt", variant="stop", elem_id="ll-sure")
            parts.keep = gr.Button("Let it train")
    parts.status = gr.HTML("")
    parts.timer = gr.Timer(_REFRESH, active=False)
    return parts


def _connect_drawing(parts: SimpleNamespace, sets: Any, events: Events) -> None:  # noqa: ANN401 - Gradio's
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    of_class = [parts.generator, parts.prompt, parts.source, parts.real, parts.canvas]
    parts.label.input(events.choose_class, parts.label, of_class, **quiet)
    parts.generator.input(events.choose_generator, [parts.label, parts.generator], parts.prompt, **quiet)
    parts.source.input(events.choose_source, [parts.label, parts.source], parts.canvas, **quiet)
    asked = [
        parts.label, parts.generator, parts.prompt, parts.negative, parts.emphasis, parts.sampler, parts.steps,
        parts.guidance, parts.count, parts.seed, parts.source, parts.strength, parts.redraw, parts.mask,
    ]  # fmt: skip
    results = [parts.status, parts.drawn, parts.key, parts.draw, parts.stop, parts.decide, parts.setting]
    parts.draw.click(events.draw, asked, results, js=_WITH_MASK, **quiet)
    parts.stop.click(events.stop, None, None, queue=False, **quiet)
    decided = [parts.status, parts.drawn, parts.decide, parts.setting, parts.seed, sets]
    chosen = [parts.key, parts.name, parts.ticked, parts.seed]
    parts.accept.click(events.accept, chosen, decided, js=_WITH_TICKED, **quiet)
    parts.reject.click(events.reject, [parts.key, parts.name, parts.seed], decided, **quiet)


def _connect_tuning(parts: SimpleNamespace, tab: Any, events: Events) -> None:  # noqa: ANN401 - Gradio's
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    tab.select(lambda: gr.Timer(active=True), None, parts.timer, **quiet)
    tab.select(events.training, None, parts.shown, **quiet)
    parts.timer.tick(events.training, None, parts.shown, **quiet)
    parts.ask.click(events.ask_to_end, parts.labels, [parts.sure, parts.status], **quiet)
    parts.keep.click(lambda: gr.Row(visible=False), None, parts.sure, **quiet)
    parts.end.click(events.end, parts.labels, [parts.sure, parts.status], **quiet)


def _emphasis_hint() -> str:
    return "(word) or (word:1.3) emphasises, [word] weakens"
