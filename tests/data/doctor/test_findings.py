import logging

from data.doctor.findings import Findings, in_parts


def test_a_finding_without_an_example_is_none():
    findings = Findings()
    findings.fault([], "fix it")
    findings.warn(iter(()), "fix it")
    findings.fault((f"example {n}" for n in range(2)), "fix it")
    assert (len(findings.faults), findings.warnings) == (1, [])
    assert str(findings.faults[0]) == "example 0; fix it (and 1 more)"


def test_an_error_s_line_is_taken_apart_at_its_last_semicolon():
    assert str(in_parts("a; b; fix it")) == "a; b; fix it"
    assert (in_parts("a; b; fix it").examples, in_parts("a; b; fix it").fix) == (("a; b",), "fix it")
    assert (in_parts("no fix").examples, in_parts("no fix").fix) == (("no fix",), "")


def test_logged_warnings_are_collected_and_not_printed(caplog):
    findings = Findings()
    with findings.logged_warnings():
        logging.getLogger("data.sources").warning("%s: odd; name it", "t.csv")
        logging.getLogger("data.sources").info("no warning")
    assert [(warning.examples, warning.fix) for warning in findings.warnings] == [(("t.csv: odd",), "name it")]
    assert caplog.records == []
    assert logging.getLogger("data").propagate
