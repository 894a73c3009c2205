"""The one way into every command: exit status, one line a mistake, signals, readers that leave."""

import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from magicdance_core.entry import Parser, execute
from magicdance_core.errors import InputError

REPOSITORY = Path(__file__).parent.parent
PROGRAM = """
import sys, time
from pathlib import Path
from magicdance_core.entry import Parser, execute
from magicdance_core.files import atomic_write

def run(options):
    with atomic_write("a.txt") as part:
        print("x" * options.size)
        part.write_text("whole")
        if options.wait:
            print("ready", file=sys.stderr, flush=True)
            time.sleep(60)
    print("after")

parser = Parser(prog="test")
parser.add_argument("--size", type=int, default=1)
parser.add_argument("--wait", action="store_true")
parser.set_defaults(run=run)
sys.exit(execute(parser))
"""


def outcome(run, *arguments):
    parser = Parser(prog="test")
    parser.set_defaults(run=run)
    return execute(parser, list(arguments))


def fails_with(error):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    "error, status, words",
    [
        (InputError("Two\nlines."), 2, "Two lines."),
        (KeyboardInterrupt(), 130, "Interrupted."),
        (KeyboardInterrupt("Go on with --resume."), 130, "--resume"),
        (PermissionError(13, "Permission denied", "secret"), 2, "secret: Permission denied"),
        (MemoryError(), 2, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, "not enough memory"),
    ],
)
def test_failures_are_one_line(error, status, words, capsys):
    assert outcome(fails_with(error)) == status
    message = capsys.readouterr().err
    assert message.startswith("magicdance: ") and message.count("\n") == 1 and words in message


def test_our_own_mistakes_are_not_hidden():
    with pytest.raises(RuntimeError, match="a bug"):
        outcome(fails_with(RuntimeError("a bug")))


def test_a_wrong_command_line(capsys):
    assert outcome(print, "--no-such-option") == 2
    assert "see test --help" in capsys.readouterr().err


def test_signals_are_as_before_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    assert outcome(lambda options: None) == 0 and signal.getsignal(signal.SIGTERM) == before


def start(folder, *arguments, **streams):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, env=environment, **streams)


@pytest.mark.skipif(os.name == "nt", reason="Windows terminates without a word")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_termination_leaves_nothing(tmp_path, number):
    def listen():  # what a shell starts in the background ignores it
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with start(tmp_path, "--wait", stderr=subprocess.PIPE, text=True, preexec_fn=listen) as process:
        assert process.stderr.readline() == "ready\n"
        process.send_signal(number)
        assert process.stderr.read() == "magicdance: Interrupted.\n"
    assert process.returncode == 128 + number and not os.listdir(tmp_path)


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_a_reader_that_leaves_stops_no_work(tmp_path, size):
    reading, writing = os.pipe()
    os.close(reading)
    with start(tmp_path, "--size", str(size), stdout=writing, stderr=subprocess.PIPE, text=True) as process:
        os.close(writing)
        assert process.stderr.read() == ""
    assert process.returncode == 0 and (tmp_path / "a.txt").read_text() == "whole"


@pytest.mark.skipif(os.name == "nt", reason="closes streams as a shell does")
def test_streams_that_are_closed_from_the_beginning(tmp_path):
    def close():
        os.close(1)
        os.close(2)

    with start(tmp_path, preexec_fn=close) as process:
        assert process.wait() == 0
    assert (tmp_path / "a.txt").read_text() == "whole"


def test_control_characters_of_messages_reach_no_terminal(capsys, caplog):
    def run(options):
        print("a\x1b[2Jb\u202ec\tд\n", end="")
        logging.getLogger("x").warning("two\nlines \x1b]0;title\x07")
        raise InputError("name\x1b[31m\r\x9b\n\udcff")

    handlers, root = logging.getLogger().handlers[:], logging.getLogger()
    root.handlers = []
    try:
        assert outcome(run) == 2
    finally:
        root.handlers = handlers
    out, err = capsys.readouterr()
    assert out == "a\\x1b[2Jb\\u202ec\tд\n"
    assert err == "two lines \\x1b]0;title\\x07\nmagicdance: name\\x1b[31m \\x9b \\udcff\n"


def test_progress_bars_may_move_the_cursor(capsys):
    assert outcome(lambda options: print("\rbar\x1b[A", end="")) == 0
    assert capsys.readouterr().out == "\rbar\x1b[A"


def test_a_terminal_without_unicode_gets_escape_sequences(tmp_path):
    program = "import sys\nfrom magicdance_core.entry import Parser, execute\nparser = Parser(prog='p')\n"
    program += "parser.set_defaults(run=lambda options: print('舞 é \\udcff'))\nsys.exit(execute(parser))"
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "\\u821e \\xe9 \\udcff\n", "")
