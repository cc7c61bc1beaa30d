"""Settings of images that are edited from photographs, instead of generated from noise alone."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from data.config import STRICT, to_dict

_STRENGTHS = (0.25, 0.5, 0.75, 1.0)  # DA-Fusion's, Trabucco et al. 2023


@dataclass(frozen=True, kw_only=True, config=STRICT)
class EditConfig:
    """How the synthetic images of a class are edited from photographs of the train part."""

    mode: Literal["img2img", "inpaint", "outpaint"] = "img2img"  # all of a photograph, a part, or what is around it
    source: Literal["own", "other"] = "own"  # photographs: the class's shots, or those of all other classes
    strengths: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1)] | None = (
        None  # shares of the steps, one an image by its seed; None: 0.25, 0.5, 0.75 and 1, and 1 for outpaint
    )
    region: Literal["lesion", "skin"] = "lesion"  # what inpaint redraws
    masks: str | None = None  # folder of lesion masks by image id, for inpaint; None: found by a threshold
    grow_mask: Annotated[int, Field(ge=0, le=128)] = 4  # pixels by which lesion masks grow, so that no old rim is left
    mask_blur: Annotated[float, Field(ge=0, le=64)] = 2.0  # pixels: sigma of the feather between redrawn and kept
    padding: Annotated[float, Field(gt=0, lt=0.5)] = 0.125  # of outpaint: share of the side, on each side
    label_gamma: Annotated[float, Field(gt=0, le=10)] = 0.5  # of the soft label of `source: other` in metadata.csv

    def __post_init__(self) -> None:
        """Refuse settings of another mode, which would change nothing."""
        if self.mode != "inpaint" and (self.masks is not None or self.region != "lesion"):
            raise ValueError(f"masks and region are for mode: inpaint, not {self.mode}; leave them out")
        if self.mode == "outpaint" and self.strengths is not None and set(self.strengths) != {1.0}:
            raise ValueError("outpaint draws its padding from noise, at strength 1; leave strengths out")

    @property
    def chosen_strengths(self) -> tuple[float, ...]:
        """The strengths, one of which each image has."""
        return self.strengths or ((1.0,) if self.mode == "outpaint" else _STRENGTHS)

    def source_weight(self, strength: float) -> float:
        """The weight of the source's class in a soft label; the target's has the rest.

        1 - strength^gamma, Wang et al. 2024, "Enhance Image Classification via Inter-Class Image Mixup with Diffusion
        Model".
        """
        return 1 - float(strength**self.label_gamma)

    def result_settings(self) -> dict[str, Any]:
        """The settings that images depend on, as plain JSON; photographs and masks are inputs of their own."""
        own = {**to_dict(self), "strengths": list(self.chosen_strengths)}
        return {**own, "masks": "threshold" if self.masks is None else "files"}
