import pytest

from augment.diffusion.prompt_weighting import Span, fill_filewords, has_emphasis, literal, parse_prompt
from data.errors import ConfigError


def spans(prompt, emphasis="plain"):
    """Text and weight of the spans of a prompt without BREAK."""
    (section,) = parse_prompt(prompt, emphasis)
    return [(span.text, round(span.weight, 4)) for span in section]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a (b) c", [("a ", 1.0), ("b", 1.1), (" c", 1.0)]),
        ("[b]", [("b", 0.9091)]),
        ("(b:1.5)", [("b", 1.5)]),
        ("(b: -0.5 )", [("b", -0.5)]),
        ("((b))", [("b", 1.21)]),
        ("(a (b:2):0.5)", [("a ", 0.5), ("b", 1.0)]),
        ("([b])", [("b", 1.0)]),
        ("(a [b]", [("a ", 1.1), ("b", 1.0)]),
        ("((b", [("b", 1.21)]),
        ("[[b", [("b", 0.8264)]),
        ("a:b (c:d:1.2)", [("a:b ", 1.0), ("c:d", 1.2)]),
        ("b) c] :2) d", [("b) c] :2) d", 1.0)]),
        ("x | y", [("x | y", 1.0)]),
        (r"a \(b\) \[c\] \\ \d", [(r"a (b) [c] \ \d", 1.0)]),
        (r"(a \(b\):1.2)", [("a (b)", 1.2)]),
    ],
)
def test_weights_are_those_of_the_webui(prompt, expected):
    assert spans(prompt) == expected


@pytest.mark.parametrize("prompt", ["", "dermoscopy of a melanoma", "stain: H&E, 20x; breakfast", "a  b\tc"])
def test_a_prompt_without_syntax_is_one_span_of_weight_1(prompt):
    assert parse_prompt(prompt) == ((Span(prompt, 1.0),),)
    assert parse_prompt(prompt, "off") == ((Span(prompt, 1.0),),)


def test_break_divides_a_prompt_inside_brackets_too():
    assert parse_prompt("a BREAK (b BREAK c:2)") == ((Span("a"),), (Span("b", 2.0),), (Span("c", 2.0),))
    assert parse_prompt("a BREAK") == ((Span("a"),), (Span(""),))


def test_where_emphasis_is_off_all_syntax_is_text():
    assert spans("(a:99) [b|c] [d:e:0.5] BREAK", "off") == [("(a:99) [b|c] [d:e:0.5] BREAK", 1.0)]
    assert spans(r"a \(b\)", "off") == [("a (b)", 1.0)]


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("(x:10.5)", r"prompt '\(x:10.5\)': the weight 10.5 is not between -10 and 10; write one that is"),
        ("(x:-11)", "the weight -11 is not between"),
        ("((x:5):5)", "the weight 25 is not between"),
        ("(" * 25 + "x", "the weight 10.8347 is not between"),
        ("(x:1e400)", "the weight inf is not between"),
        ("(x:nan)", "the weight nan is not between"),
        ("(x:1.2.3)", r"'1\.2\.3' is no weight; write a number"),
        ("[a:b:0.5]", r"scheduling \[from:to:when\] is not supported; write one of its texts, or \\\[ and \\\]"),
        ("[a:10]", "scheduling"),
        ("a [b|c] d", r"alternation \[a\|b\] is not supported; write one of its texts"),
        ("[(b:1.2)|c]", "alternation"),
        ("[x|" + "y" * 500 + "]", r"y\.\.\.': alternation"),
    ],
)
def test_what_is_not_read_is_refused_in_a_line(prompt, message):
    with pytest.raises(ConfigError, match=message) as refused:
        parse_prompt(prompt)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_brackets_of_data_are_text_and_escaped_once():
    text = r"nevus (in situ) [2:0.5], b\) c | d"
    assert literal(text) == r"nevus \(in situ\) \[2\:0.5\], b\) c \| d"
    assert literal(literal(text)) == literal(text)
    assert spans(literal(text)) == [("nevus (in situ) [2:0.5], b) c | d", 1.0)]
    assert not has_emphasis(literal(text))
    assert has_emphasis(text)
    assert has_emphasis("a BREAK b")


@pytest.mark.parametrize(
    ("prompt", "filled", "empty"),
    [
        ("photo of x, [filewords]", "photo of x, a, b", "photo of x"),
        ("[filewords], photo of x", "a, b, photo of x", "photo of x"),
        ("photo [filewords] of x", "photo a, b of x", "photo of x"),
        ("photo of x", "photo of x", "photo of x"),
    ],
)
def test_filewords_are_replaced_and_leave_nothing_where_there_are_none(prompt, filled, empty):
    assert fill_filewords(prompt, "a, b") == filled
    assert fill_filewords(prompt, "") == empty
    assert spans(prompt) == [(empty, 1.0)]
    assert not has_emphasis(prompt)


@pytest.mark.parametrize("text", ["ratio 1:40", "SKIN BREAK on the arm", "x | y", r"\\(x)", "a) b ["])
@pytest.mark.parametrize("around", ["(at {})", "[at {}]", "([at {}])"])
def test_data_are_text_within_brackets_of_the_config_too(text, around):
    (section,) = parse_prompt(around.replace("{}", literal(text)))
    (span,) = section
    assert span.text.lower() == f"at {text.lower()}".replace(r"\\(", r"\(")
