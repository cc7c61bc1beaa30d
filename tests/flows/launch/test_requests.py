"""The server is asked over HTTP, again while it is busy, with its auth string unless that is left out."""

import urllib.error

import pytest

from flows.launch import requests as module
from flows.launch.environment import StartError
from flows.launch.requests import api, ask, ask_once


def test_the_address_is_the_one_that_prefect_reads(monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert api() == "http://127.0.0.1:4200/api"
    monkeypatch.setenv("PREFECT_API_URL", "https://prefect.example.org/api/")
    assert api() == "https://prefect.example.org/api"


def test_a_file_without_an_address_is_named_with_the_fix(monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    (tmp_path / "prefect.toml").write_text("[api]\n", encoding="utf-8")
    with pytest.raises(StartError, match=r"prefect\.toml names no api\.url; put it back, or set PREFECT_API_URL"):
        api()


def test_a_busy_server_is_asked_again(answers):
    answers["/busy"] = [(503, {}), (503, {}), (200, "ready")]
    assert ask("/busy") == "ready"
    assert len(answers["asked"]) == 3


def test_a_server_that_stays_busy_is_given_up_in_the_end(answers):
    answers["/busy"] = [(503, {})]
    with pytest.raises(urllib.error.HTTPError, match="503"):
        ask("/busy")
    assert len(answers["asked"]) == 7


def test_a_refusal_is_final(answers):
    answers["/gone"] = [(404, {}), (200, "there")]
    with pytest.raises(urllib.error.HTTPError, match="404"):
        ask("/gone")


def test_a_body_is_sent_as_json_and_no_answer_is_none(answers):
    answers["/taken"] = [(200, b"")]
    assert ask_once("/taken", {"a": [1]}) is None
    assert answers["asked"] == [("/api/taken", b'{"a": [1]}')]
    assert answers["headers"][0]["Content-Type"] == "application/json"


def test_the_auth_string_goes_along_unless_it_is_left_out(answers, monkeypatch):
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "u:p")
    answers["/version"] = [(200, "3")]
    ask_once("/version")
    ask("/version", known=False)
    assert [headers.get("Authorization") for headers in answers["headers"]] == ["Basic dTpw", None]  # u:p
