"""The card of an exported adapter: what it is, how to use it in the other program, what it has seen; Markdown.

All is taken from the run's records. Of images, lesions and patients there are counts and no ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports import numbers
from reports.cards import card_environment, data_licence, licence_of_base
from reports.split_counts import split_counts

if TYPE_CHECKING:
    from augment.export.adapters import Exported, Program
    from augment.methods.record import AdapterRecord
    from reports.run_folder import RunFolder

CARD = "README.md"
_WHAT = {
    "lora": "`{file}`: a LoRA, the update of the base's weights, under kohya's names.",
    "lycoris": "`{file}`: a {method}, the update of the base's weights, under LyCORIS' names.",
    "checkpoint": "`{file}`: the whole model in 16 bits, in the layout of Stable Diffusion 1.x.",
    "word": "`{file}`: a learnt word, its vectors beside the base's vocabulary.",
    "hypernetwork": "`{file}`: a hypernetwork, which changes what the attention reads.",
    "lora folder": "A LoRA, the update of the base's weights, as diffusers reads it.",
    "pipeline": "The whole model in 16 bits, as a diffusers folder.",
}
_BESIDE = "choose the base's checkpoint, and write `lora:{name}:1`, in angle brackets, beside the prompt."
_WORD = "In the prompt write `{name}` in place of the trigger word."
_USAGE = {
    ("lora", "webui"): "Put the file into `models/Lora`, " + _BESIDE,
    ("lycoris", "webui"): "Put the file into `models/Lora`, " + _BESIDE,
    (
        "checkpoint",
        "webui",
    ): "Put the file into `models/Stable-diffusion` and choose it as the checkpoint. A model that "
    "predicts v, or whose networks have other sizes than those of Stable Diffusion 1.x (the embedded base does and has "
    "both), needs a config beside it, `{name}.yaml`.",
    ("lora", "kohya"): "`gen_img.py --network_module networks.lora --network_weights {file}` draws with it, and "
    "`train_network.py` with the same options continues its training; `--ckpt` or `--pretrained_model_name_or_path` "
    "names the base.",
    (
        "lycoris",
        "kohya",
    ): "`--network_module lycoris.kohya --network_weights {file}`, with LyCORIS installed, draws with "
    "it (`gen_img.py`) or continues its training (`train_network.py`).",
    (
        "checkpoint",
        "kohya",
    ): "`--ckpt {file}` of `gen_img.py`, or `--pretrained_model_name_or_path {file}` to train on.",
    ("word", "webui"): "Put the file into `embeddings`. " + _WORD,
    ("word", "kohya"): "`--textual_inversion_embeddings {file}` of `gen_img.py`. " + _WORD,
    ("word", "diffusers"): "`pipe.load_textual_inversion(FILE)`; FILE is the file above. " + _WORD,
    ("hypernetwork", "webui"): "Put the file into `models/hypernetworks`, choose the base's checkpoint, and write "
    "`hypernet:{name}:1`, in angle brackets, beside the prompt.",
    ("lora folder", "diffusers"): "`pipe = StableDiffusionPipeline.from_pretrained(BASE)`, then "
    "`pipe.load_lora_weights(FOLDER)`; BASE is the base named above, FOLDER the folder of this file.",
    ("pipeline", "diffusers"): "`pipe = StableDiffusionPipeline.from_pretrained(FOLDER)`; FOLDER is that of this file.",
}


def adapter_card(run: RunFolder, adapter: AdapterRecord, exported: Exported, program: Program) -> str:
    """The card of one class's exported adapter. Raises InputError for a record of the run that cannot be read."""
    split, record = split_counts(run), run.record
    file = exported.files[0]
    named = {"file": file.name, "name": file.stem, "method": adapter.display_name}
    rows = [row for row in split.provenance if (row.kind, row.name) == ("generator", adapter.label)]
    values = {
        "run": record,
        "a": adapter,
        "program": program,
        "title": adapter.label,
        "what": _WHAT[exported.kind].format(**named),
        "usage": _USAGE[exported.kind, program].format(**named),
        "base": _base_in_words(adapter),
        "base_licence": licence_of_base(record["base"], record["config"]),
        "source": str(record["config"]["data"]["source"]),
        "licence": data_licence(str(record["config"]["data"]["source"])),
        "rows": [*(row for row in split.provenance if row.kind == "base"), *rows],
        "base_has_seen": split.base_has_seen or "unknown",
        "generator": bool(rows),
        "complete": bool(rows) and all(row.is_complete for row in rows),
        "numbers": numbers,
    }
    return card_environment().get_template("adapter-card.md").render(**values)


def _base_in_words(adapter: AdapterRecord) -> str:
    base = adapter.base
    kind, known = ("SHA-256", base["sha256"]) if "sha256" in base else ("revision", base.get("revision", "unknown"))
    return f"{base.get('source', 'unknown')} ({kind} {known})"
