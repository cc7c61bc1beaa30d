"""How a classifier is trained: its settings, and which of them its result depends on."""

from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from classify import embedded, lite0
from classify.augmented_batches import Place
from classify.embedded import PHANTOMS
from classify.lite0 import LITE0_PACKAGE
from data.config import STRICT, to_dict
from data.train_views import Augmentation

Share = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Alpha = Annotated[float, Field(ge=0, le=10)]
Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class ClassifierConfig:
    """How one classifier is trained. The defaults learn from scratch in four thousand small images."""

    model: str = "efficientnet_b0"  # of timm
    weights: str = (
        "none"  # "phantoms" (embedded), "pretrained" (hub), "lite0-package" (a package), a file or model folder
    )
    steps: Positive = 128  # of the optimiser, in every arm
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0)] = 6e-3  # at its highest
    warmup: Share = 0.15  # share of the steps in which it rises; then it falls along a cosine
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    label_smoothing: Share = 0.05
    drop_rate: Share = 0.1  # dropout before the last layer
    clip_grad: Annotated[float, Field(gt=0)] = 1.0  # largest norm of the gradient
    sampling: Annotated[float, Field(ge=0, le=1)] = 0.5  # 0: classes balanced by loss weights, 1: by sampling
    ema_decay: Share = 0.98  # of the averaged weights, which are evaluated; 0 = no averaging
    validate_every: Positive = 32  # steps
    calibrate: bool = False  # divide logits by a temperature that is fitted on the validation part
    test_views: Literal[1, 8] = 1  # of each image that is predicted: as it is, or all rotations and flips, averaged
    threads: Positive | None = None  # of the CPU; None = torch's default
    augment_device: Place = "auto"  # "cpu": albumentations; "device": in batches; "auto": where the network is
    augmentation: Augmentation = "light"  # or timm's RandAugment after it, which is made on the CPU
    mixup: Alpha = 0.0  # of MixUp's Beta distribution; 0 = none
    cutmix: Alpha = 0.0  # of CutMix's
    synthetic_draws: Part | None = 0.5  # share of synthetic images among a class's draws; None: by their number
    synthetic_loss: Part | None = None  # share of its loss that they carry; None: as they are drawn
    synthetic_first: Share = 0.0  # share of the steps in which synthetic images replace photographs; then none is drawn
    soft_labels: bool = False  # images edited from another class's photographs (`generate.edit`) keep a share of it
    checkpoint: Literal["last", "best"] = "last"  # the network that is kept: the last, or the best on validation

    def __post_init__(self) -> None:
        """Refuse weights that are known to be of another network; those in files are checked when they are read."""
        own = {LITE0_PACKAGE: lite0.ARCHITECTURE, PHANTOMS: embedded.ARCHITECTURE}.get(self.weights, self.model)
        if self.model != own:
            raise ValueError(f"weights: {self.weights} are those of {own}; set model: {own}")


def result_settings(config: ClassifierConfig) -> dict[str, Any]:
    """The settings that the result depends on, as plain JSON: without those that only change speed.

    Settings that came later are left out at their defaults, under which studies of before are the same.
    """
    plain = to_dict(config)
    defaults = {"augment_device": "auto", "calibrate": False, "test_views": 1, "soft_labels": False}
    idle = {"threads", *(name for name, value in defaults.items() if plain[name] == value)}
    return {name: value for name, value in plain.items() if name not in idle}
