"""How often does a 95 % interval hold the truth? Studies are simulated, and evaluated by the program's own functions.

An image is classified correctly where a sum of normal effects is positive: its class in the arm, its lesion, its lesion
in this arm, the image, the classifier's seed, the generator's draw, and chance. The share of correct ones is then known
exactly, and so is the gain that is planted. Seeds and draws move classes together by half.

    python benchmarks/coverage.py [--trials 300] [--seed 0]

A cell is one design; gains of 0, 3 and 8 points are planted in turn. With 300 trials a share of 95 % is known to 2.5
points (two standard errors).
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm

from classify.comparison import Comparison, Estimate
from classify.tested import Tested

GAINS = (0.0, 0.03, 0.08)
LESIONS = {
    "few": (20, 40, 60, 5, 60, 250, 5),  # the demo's first test part: two classes of five lesions
    "many": (69, 97, 219, 22, 184, 600, 30),  # as HAM10000's at 30 %, with fewer of the commonest class
}
RECALLS = np.array([0.5, 0.5, 0.55, 0.4, 0.5, 0.7, 0.7])
RARE = (0, 3, 6)  # classes in which the arms and the generator's draws differ
_TOGETHER = 0.5  # share of a seed's or draw's variance that all its classes have in common
_LESION, _LESION_IN_ARM, _IMAGE, _CHANCE = 0.5, 0.15, 0.15, 0.2  # variances on the probit scale; they sum to 1
_SLOPE = 0.36  # mean density of the probit at these recalls


@dataclass(frozen=True, kw_only=True)
class Design:
    """One cell: a study's size, and how far its seeds and draws lie apart in balanced accuracy."""

    lesions: str = "many"
    seeds: int = 3
    spread: tuple[float, float] = (0.02, 0.02)  # standard deviation of one classifier, by arm
    draw: float = 0.0  # standard deviation of the generator's draw
    repeats: int = 1
    moves_split: bool = False  # study seeds: each repeat tests a third of the lesions, drawn anew
    permuted: bool = False  # labels that say nothing of the images
    gains: tuple[float, ...] = GAINS  # planted in turn; 0 alone: twice the same arm

    @property
    def title(self) -> str:
        """The cell in words."""
        spread = "/".join(f"{100 * each:g}" for each in self.spread)
        repeats = f", {self.repeats} {'study' if self.moves_split else 'generator'} seeds" if self.repeats > 1 else ""
        permuted = ", permuted labels" if self.permuted else ", twice the same arm" if self.gains == (0.0,) else ""
        return f"{self.lesions}, {self.seeds} seeds, spread {spread}, draw {100 * self.draw:g}{repeats}{permuted}"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What the trials of one design gave."""

    covered: float  # share of trials whose interval of the difference holds the planted gain
    unresolved: float  # share whose interval holds 0, of those with no gain
    half_width: float  # mean, points of balanced accuracy
    recalls: float  # share of the arm's recalls by class that their intervals hold
    changes: float  # share of the differences in recall


def designs() -> list[Design]:
    """The table's rows."""
    spreads = ((0.02, 0.02), (0.01, 0.04), (0.04, 0.01))
    alone = [Design(lesions=part, seeds=n, spread=spread) for part in LESIONS for n in (2, 3, 5) for spread in spreads]
    drawn = [
        Design(lesions=part, seeds=2, spread=(0.01, 0.03), draw=draw, repeats=n, moves_split=moves)
        for part in LESIONS
        for moves in (False, True)
        for draw in (0.02, 0.03, 0.04)
        for n in (2, 3, 5)
    ]
    twice = [Design(lesions=part, seeds=n, gains=(0.0,)) for part in LESIONS for n in (2, 3)]
    return [*alone, *drawn, *twice, *(replace(design, permuted=True) for design in twice)]


def measure(design: Design, trials: int, seed: int = 0) -> Cell:
    """Simulate studies of one design and evaluate each."""
    rng = np.random.default_rng(seed)
    held: list[bool] = []
    zero: list[bool] = []
    widths: list[float] = []
    recalls: list[float] = []
    changes: list[float] = []
    for trial in range(trials):
        gain = design.gains[trial % len(design.gains)]
        true = recalls_of(gain)
        comparison = Comparison(simulated(design, true, rng), len(RECALLS))
        found, arm = comparison.difference("synthetic", "real"), comparison.arm("synthetic")
        whole = found.balanced_accuracy
        held.append(_holds(whole, float(np.mean(true[1] - true[0]))))
        widths.append((whole.high - whole.low) / 2)
        zero += [_holds(whole, 0.0)] if gain == 0 else []
        recalls += [_holds(one, share) for one, share in zip(arm.recalls, true[1], strict=True)]
        changes += [_holds(one, share) for one, share in zip(found.recalls, true[1] - true[0], strict=True)]
    return Cell(
        covered=float(np.mean(held)),
        unresolved=float(np.mean(zero)),
        half_width=float(np.mean(widths)),
        recalls=float(np.mean(recalls)),
        changes=float(np.mean(changes)),
    )


def recalls_of(gain: float) -> Float[np.ndarray, "arms classes"]:
    """True recalls of both arms, which differ by the gain in balanced accuracy, all of it in the rare classes."""
    gains = np.zeros(len(RECALLS))
    gains[list(RARE)] = gain * len(RECALLS) / len(RARE)
    return np.stack([RECALLS, RECALLS + gains])


def simulated(design: Design, true: Float[np.ndarray, "arms classes"], rng: np.random.Generator) -> tuple[Tested, ...]:
    """One study's test parts with both arms' predictions."""
    lesions = np.array(LESIONS[design.lesions]) * (3 if design.moves_split else 1)
    label = np.repeat(np.arange(len(lesions)), lesions)
    group = np.repeat(np.arange(len(label)), 1 + rng.poisson(0.5, len(label)))
    common = rng.normal(0, _LESION**0.5, len(label))[group] + rng.normal(0, _IMAGE**0.5, len(group))
    in_arm = rng.normal(0, _LESION_IN_ARM**0.5, (2, len(label)))[:, group]
    kept = np.ones(len(group), dtype=bool)
    repeats: list[Tested] = []
    for n in range(design.repeats):
        if design.moves_split:
            kept = np.isin(group, _third(label, rng))
        truth, images = label[group][kept], (common + in_arm)[:, kept]
        predict = _predictor(design, true, truth, rng)
        real = predict(0, images[0])
        if repeats and not design.moves_split:
            real = repeats[0].predicted("real")  # without a generator's images: the same classifiers
        named = {"real": real, "synthetic": predict(1, images[1])}
        if design.permuted:
            truth = rng.permutation(truth)
        tested = Tested.of_classes(truth, group[kept], named, len(RECALLS))
        repeats.append(replace(tested, name=f"{n}", draw=f"{n}" if design.moves_split else ""))
    return tuple(repeats)


def report(trials: int, seed: int = 0) -> str:
    """The table as Markdown."""
    head = (
        "| design | holds the gain, % | not resolved without gain, % | half width, points | recalls, % | changes, % |"
    )
    rows = [head, "|---|---|---|---|---|---|"]
    for design in designs():
        cell = measure(design, trials, seed)
        shares = [f"{100 * share:.1f}" for share in (cell.covered, cell.unresolved)]
        recalls = "– | –" if design.permuted else f"{100 * cell.recalls:.1f} | {100 * cell.changes:.1f}"
        rows.append(f"| {design.title} | {' | '.join(shares)} | {100 * cell.half_width:.1f} | {recalls} |")
        print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="coverage", description="How often an interval holds the truth.")
    parser.add_argument("--trials", type=int, default=300, help="simulated studies of each design (default: 300)")
    parser.add_argument("--seed", type=int, default=0, help="of the simulation (default: 0)")
    options = parser.parse_args(arguments)
    print(report(options.trials, options.seed))
    return 0


def _predictor(
    design: Design, true: Float[np.ndarray, "arms classes"], truth: Int[np.ndarray, " n"], rng: np.random.Generator
) -> Callable[[int, Float[np.ndarray, " n"]], Int[np.ndarray, "seeds n"]]:
    """A function that gives an arm's predictions by seed from its images' effects."""
    every = tuple(range(len(RECALLS)))

    def predict(arm: int, images: Float[np.ndarray, " n"]) -> Int[np.ndarray, "seeds n"]:
        draw = design.draw if arm == 1 else 0.0
        shift = draw * _effect(RARE, rng)
        variance = 1 + (draw * _scale(RARE)) ** 2 * np.isin(every, RARE) + (design.spread[arm] * _scale(every)) ** 2
        threshold = norm.ppf(true[arm]) * np.sqrt(variance)
        named = np.empty((design.seeds, len(truth)), dtype=np.int64)
        for seed in range(design.seeds):
            own = threshold + shift + design.spread[arm] * _effect(every, rng)
            is_right = own[truth] + images + rng.normal(0, _CHANCE**0.5, len(truth)) > 0
            named[seed] = np.where(is_right, truth, (truth + 1) % len(RECALLS))
        return named

    return predict


def _effect(classes: Sequence[int], rng: np.random.Generator) -> Float[np.ndarray, " classes"]:
    """An effect by class that moves balanced accuracy by 1 (standard deviation)."""
    effect = np.zeros(len(RECALLS))
    own = rng.normal(size=len(classes))
    effect[list(classes)] = _scale(classes) * (_TOGETHER**0.5 * rng.normal() + (1 - _TOGETHER) ** 0.5 * own)
    return effect


def _scale(classes: Sequence[int]) -> float:
    """Standard deviation of such an effect in one class, on the probit scale."""
    return len(RECALLS) / len(classes) / _SLOPE / float(np.sqrt(_TOGETHER + (1 - _TOGETHER) / len(classes)))


def _third(label: Int[np.ndarray, " lesions"], rng: np.random.Generator) -> Int[np.ndarray, " kept"]:
    """A third of each class's lesions."""
    own = [np.flatnonzero(label == k) for k in range(len(RECALLS))]
    return np.concatenate([rng.choice(lesions, len(lesions) // 3, replace=False) for lesions in own])


def _holds(found: Estimate, value: float) -> bool:
    return bool(found.low - 1e-12 <= value <= found.high + 1e-12)


if __name__ == "__main__":
    sys.exit(main())
