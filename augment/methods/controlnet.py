"""ControlNet: a copy of the UNet's first half learns to follow a condition image. Zhang et al. 2023.

Trained on a class's photographs and the condition images made of them, with a frozen base. Each synthetic image then
follows the condition image of one of those photographs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import torch
from diffusers import StableDiffusionPipeline
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from augment.conditions.table import OF_MASKS, ConditionName, ConditionSource
from augment.device import copied, training_dtype
from augment.diffusion.control import PREFIX, control_for, install_control
from augment.methods.contract import Adapter, FinetuneSettings, LearningRate
from augment.methods.controlnet_files import WEIGHTS, read_controlnet, require_same_geometry, write_controlnet
from augment.methods.module_trainable import ModuleTrainable
from data.config import STRICT

if TYPE_CHECKING:
    from augment.base.param_count import BaseParts

_ZERO = ("controlnet_down_blocks.", "controlnet_mid_block.", "controlnet_cond_embedding.conv_out.")  # at the start


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ControlNetConfig(FinetuneSettings):
    """Settings of a ControlNet. The learning rate is the paper's, for thousands of steps."""

    display_name: ClassVar[str] = "ControlNet"

    method: Literal["controlnet"] = "controlnet"
    learning_rate: LearningRate = 1e-5
    condition: ConditionName = "mask"  # what is made of each photograph: docs/controlnet.md
    masks: str | None = None  # folder of lesion masks by image id; None: found by a threshold

    def __post_init__(self) -> None:
        """Refuse a text encoder, which stays frozen, and masks for a condition that is not made of them."""
        super().__post_init__()
        if self.text_encoder:
            raise ValueError("text_encoder: a ControlNet is of the UNet alone; remove it")
        if self.masks is not None and self.condition not in OF_MASKS:
            raise ValueError(f"masks: condition {self.condition} is not made of masks; take {' or '.join(OF_MASKS)}")

    @property
    def condition_source(self) -> ConditionSource:
        """What is made of each photograph."""
        return ConditionSource(self.condition, self.masks)

    def trainable(self, pipe: StableDiffusionPipeline, device: torch.device) -> ControlNetTrainable:
        """A frozen UNet with a ControlNet."""
        return ControlNetTrainable(pipe, device)

    def adapter(self, folder: Path) -> ControlNetAdapter:
        """Open a saved ControlNet."""
        return ControlNetAdapter(folder)

    def trained_params(self, parts: BaseParts) -> int:
        """All of the ControlNet's."""
        factor = 2 ** (len(cast("Any", parts.vae).config.block_out_channels) - 1)
        return sum(weight.numel() for weight in control_for(parts.unet, factor).parameters())


class ControlNetTrainable(ModuleTrainable):
    """A frozen copy of the UNet, and a ControlNet beside it that is trained."""

    def __init__(self, base: StableDiffusionPipeline, device: torch.device) -> None:
        unet = copied(base.unet, device, training_dtype(device)).requires_grad_(requires_grad=False)
        super().__init__(base, {"unet": unet})
        install_control(self.pipe)
        self._control = unet.control.float().requires_grad_(requires_grad=True)
        self._copied = {path for path, _ in base.unet.named_parameters()}

    def initial(self, name: str, parameter: nn.Parameter, generator: torch.Generator) -> Tensor:
        """The UNet's own weight where it has one; 0 for what joins the two; the rest as torch draws convolutions."""
        path = name.removeprefix(PREFIX)
        if path in self._copied:
            return super().initial(f"unet.{path}", parameter, generator)
        if path.startswith(_ZERO):
            return torch.zeros_like(parameter)
        inputs = self._control.get_parameter(f"{path.rpartition('.')[0]}.weight")[0].numel()
        value = torch.empty(parameter.shape).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        return value.to(parameter.device)

    def save(self, parameters: Mapping[str, nn.Parameter], folder: Path) -> Path:
        """Write the ControlNet as diffusers does."""
        tensors = {name.removeprefix(PREFIX): parameter for name, parameter in parameters.items()}
        return write_controlnet(tensors, self._control, folder)


@plain_dataclass(frozen=True)
class ControlNetAdapter(Adapter):
    """A saved ControlNet, of this program or any other that writes diffusers' folders."""

    folder: Path

    @property
    def installs(self) -> Hashable:
        """The ControlNet; its sizes follow from the base's."""
        return WEIGHTS

    def install(self, pipe: StableDiffusionPipeline) -> None:
        """Add a ControlNet of zeros."""
        install_control(pipe)

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        """The ControlNet's weights. Raises BaseError for one of other sizes."""
        require_same_geometry(self.folder, pipe.unet.control)
        return [f"{PREFIX}{path}" for path in pipe.unet.control.state_dict()]

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The saved weights; of the base's own, which are zero, only the shapes are used."""
        shapes = {name.removeprefix(PREFIX): tuple(zeros.shape) for name, zeros in weights.items()}
        return {f"{PREFIX}{path}": value for path, value in read_controlnet(self.folder, shapes).items()}
