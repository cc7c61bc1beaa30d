import pytest

from flows.launch import environment as module
from flows.launch.environment import StartError, environment


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without an environment, and the commands that would make one."""
    (tmp_path / "requirements.lock").write_text("a==1", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text("", encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    commands = []

    class Ended:
        returncode = 0

    def call(command, **_):
        commands.append(" ".join(command))
        (tmp_path / ".venv").mkdir(exist_ok=True)
        return Ended()

    monkeypatch.setattr(module, "call", call)
    commands.clear()
    return tmp_path, commands


def test_twice_the_same_lock_installs_once(project, capsys):
    folder, commands = project
    environment()
    assert any("--require-hashes" in command for command in commands)
    assert any("--no-deps --no-build-isolation --editable" in command for command in commands)
    commands.clear()
    environment()
    assert not commands
    (folder / "requirements.lock").write_text("a==2", encoding="utf-8")
    environment()
    assert commands


def test_uv_makes_the_bytecode_that_pip_makes_by_itself(project, monkeypatch, capsys):
    _, commands = project
    monkeypatch.setattr(module, "_uv", lambda: "uv")
    environment()
    installs = [command for command in commands if command.startswith("uv pip install ")]
    assert len(installs) == 2
    assert all("--compile-bytecode" in command for command in installs)


def test_without_uv_pip_does_it(project, monkeypatch, capsys):
    _, commands = project
    monkeypatch.setattr(module, "_uv", lambda: None)
    environment()
    assert any("-m pip install --quiet --no-deps --require-hashes" in command for command in commands)


def test_an_old_python_is_refused_in_words(project, monkeypatch):
    monkeypatch.setattr(module.sys, "version_info", (3, 10, 1))
    with pytest.raises(StartError, match=r"Python 3\.11 or later"):
        environment()
