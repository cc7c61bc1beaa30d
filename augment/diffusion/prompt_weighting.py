r"""Emphasis in prompts, in the syntax of AUTOMATIC1111's webui.

`(x)` has weight 1.1, `[x]` 1 / 1.1 and `(x:1.5)` 1.5. Nested weights multiply, a bracket that is not closed acts to the
end, `\(` is a bracket that is text, and `BREAK` starts a new chunk. Scheduled prompts and alternation are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from data.errors import ConfigError

Emphasis = Literal["plain", "webui-mean", "off"]  # weights; rescaled to the old mean; brackets are text
FILEWORDS = "[filewords]"  # in a prompt: what is known of the image; nothing where nothing is

MAX_WEIGHT = 10.0  # beyond it the embeddings are far from any that the UNet was trained with
_FACTORS = {"(": 1.1, "[": 1 / 1.1}
_TOKEN = re.compile(
    r"""
    \\(?P<escaped>[()\[\]\\:|])
    | :\s*(?P<weight>[+-]?(?i:[.\d]+(?:e[+-]?\d+)?|nan|inf(?:inity)?))\s*(?P<close>[)\]])
    | [()\[\]|]
    | [^\\()\[\]:|]+
    | .
    """,
    re.VERBOSE | re.DOTALL,
)
_BREAK = re.compile(r"\s*\bBREAK\b\s*")
_BREAK_WORD = re.compile(r"\bBREAK\b")
_ESCAPED = re.compile(r"\\([()\[\]\\:|])")
_BARE = re.compile(r"(?<!\\)([()\[\]])")
_SYNTAX = re.compile(r"([()\[\]\\:|])")
_SHOWN = 60  # characters of a prompt in a message


@dataclass(frozen=True)
class Span:
    """Text of a prompt that has one weight."""

    text: str
    weight: float = 1.0


def parse_prompt(prompt: str, emphasis: Emphasis = "plain") -> tuple[tuple[Span, ...], ...]:
    """The spans between one BREAK and the next; a prompt without syntax is one span of weight 1.

    With "off" brackets and BREAK are text. Raises ConfigError for weights beyond 10 and for syntax that is not read.
    """
    prompt = fill_filewords(prompt, "")
    if emphasis == "off":
        return ((Span(_ESCAPED.sub(r"\1", prompt)),),)
    sections: list[list[Span]] = [[]]
    for span in _weighted(prompt):
        if not abs(span.weight) <= MAX_WEIGHT:
            raise ConfigError(
                f"{_shown(prompt)}: the weight {span.weight:g} is not between -{MAX_WEIGHT:g} and {MAX_WEIGHT:g}; "
                "write one that is, such as (word:1.3)"
            )
        first, *others = _BREAK.split(span.text)
        sections[-1].append(Span(first, span.weight))
        sections += [[Span(text, span.weight)] for text in others]
    return tuple(tuple(span for span in section if span.text) or (Span(""),) for section in sections)


def literal(text: str) -> str:
    """Text from data as a part of a prompt, wherever in it: all of its syntax is text, escaped already or not."""
    plain = _BREAK_WORD.sub("break", _ESCAPED.sub(r"\1", text))  # the tokenizer reads small letters alone
    return _SYNTAX.sub(r"\\\1", plain)


def without_syntax(prompt: str) -> str:
    """The prompt's text alone."""
    return " ".join(span.text for section in parse_prompt(prompt) for span in section)


def has_emphasis(prompt: str) -> bool:
    """Whether brackets or BREAK of a prompt are read as syntax."""
    without = fill_filewords(prompt, "")
    return bool(_BARE.search(without) or _BREAK.search(without))


def fill_filewords(prompt: str, words: str) -> str:
    """The prompt with `[filewords]` replaced; where there are no words, the comma and blanks before it go too."""
    filled = prompt.replace(FILEWORDS, words) if words else re.sub(rf",?\s*{re.escape(FILEWORDS)}", "", prompt)
    return filled if filled == prompt else filled.lstrip(" ,")


def _weighted(prompt: str) -> list[Span]:
    """The prompt's text in spans, neighbours of one weight joined."""
    texts, weights = list[str](), list[float]()
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, factor: float) -> None:
        start = opened[bracket].pop()
        weights[start:] = [weight * factor for weight in weights[start:]]

    for token in _TOKEN.finditer(prompt):
        text, number, closing = token[0], token["weight"], token["close"]
        if text in opened:
            opened[text].append(len(texts))
        elif opened["["] and (text == "|" or closing == "]"):
            raise ConfigError(_not_read(prompt, "alternation [a|b]" if text == "|" else "scheduling [from:to:when]"))
        elif closing == ")" and opened["("]:
            close("(", _number(number, prompt))
        elif text == ")" and opened["("]:
            close("(", _FACTORS["("])
        elif text == "]" and opened["["]:
            close("[", _FACTORS["["])
        else:
            texts.append(token["escaped"] or text)
            weights.append(1.0)
    for bracket, factor in _FACTORS.items():
        while opened[bracket]:
            close(bracket, factor)
    return _joined(texts, weights)


def _joined(texts: list[str], weights: list[float]) -> list[Span]:
    spans = list[Span]()
    for text, weight in zip(texts, weights, strict=True):
        if spans and spans[-1].weight == weight:
            spans[-1] = Span(spans[-1].text + text, weight)
        else:
            spans.append(Span(text, weight))
    return spans


def _number(text: str, prompt: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{_shown(prompt)}: {text!r} is no weight; write a number, such as (word:1.3)") from None


def _not_read(prompt: str, syntax: str) -> str:
    instead = r"write one of its texts, or \[ and \] for brackets that are text"
    return f"{_shown(prompt)}: {syntax} is not supported; {instead}"


def _shown(prompt: str) -> str:
    return f"prompt {prompt if len(prompt) <= _SHOWN else prompt[:_SHOWN] + '...'!r}"
