import errno

import pytest

from data.errors import _OF_MACHINE, ConfigError, DataError, Fault, MachineError, TrainingError, exit_code, refuse


def raising(fault):
    def work():
        raise fault

    return work


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        (DataError("a.jpg: is broken; copy it anew"), 2, "error: a.jpg: is broken; copy it anew\n"),
        (TrainingError("the loss is nan"), 1, "failed: the loss is nan\n"),
        (
            NotADirectoryError(errno.ENOTDIR, "Not a directory", "runs/demo"),
            3,
            "failed: runs/demo: Not a directory; move what is in the way, or set output_dir to another folder\n",
        ),
        (
            OSError(errno.EIO, "Input/output error"),
            3,
            f"failed: a file: Input/output error; {_OF_MACHINE[errno.EIO]}\n",
        ),
        (
            MemoryError(),
            3,
            "failed: this machine's memory is used up; end what else uses it, or lower batch_size\n",
        ),
        (MachineError("the disk: broken"), 3, "failed: the disk: broken\n"),
        (KeyboardInterrupt(), 130, "\nstopped; go on\n"),
    ],
)
def test_what_ends_a_command_is_one_line_and_its_exit_code(fault, code, line, capsys):
    assert exit_code(raising(fault), "stopped; go on") == code
    assert capsys.readouterr() == ("", line)


def test_a_command_s_own_exit_code_is_kept_and_a_failure_of_the_program_is_not_hidden():
    assert exit_code(lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 // 0)
    with pytest.raises(FileNotFoundError):
        exit_code(raising(FileNotFoundError(errno.ENOENT, "No such file", "a")))


def test_a_fault_with_many_examples_is_one_line():
    fault = Fault("a.csv", ("row 2 is empty", "row 5 is empty"), "fill them in")
    assert str(fault) == "a.csv: row 2 is empty; fill them in (and 1 more)"
    with pytest.raises(DataError, match="row 2 is empty"):
        refuse(fault)
    assert not issubclass(ConfigError, TrainingError)


def test_an_error_is_one_line_whatever_the_names_in_it_hold(capsys):
    fault = DataError("a\nb\r\x1b[2Jerror: \x00fake.png: no such image; add  it")
    assert exit_code(raising(fault)) == 2
    assert capsys.readouterr().err == "error: a b  [2Jerror:  fake.png: no such image; add  it\n"
