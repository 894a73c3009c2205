"""The entry point of every command: from a command line to an exit status."""

import argparse
import contextlib
import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator

from .checks import printable
from .errors import InputError

BAD_INPUT, INTERRUPTED = 2, 128 + signal.SIGINT
CURSOR_UP = "\x1b[A"  # which progress bars below others write


class Parser(argparse.ArgumentParser):
    """Argument parser that raises InputError for a wrong command line."""

    def error(self, message: str):
        raise InputError(f"{message}: see {self.prog} --help.")


def execute(parser: argparse.ArgumentParser, arguments: list[str] | None = None, name: str = "magicdance") -> int:
    """Parse a command line and call `options.run(options)`, a default that the parser sets.

    arguments: those of the process by default. name: prefix of messages.
    Returns 0 on success, 2 after one line on stderr for bad input, and 128 + the signal (130 interrupted, 143
    terminated) after the command has cleaned up; it may raise KeyboardInterrupt with a message.
    """
    with _signals() as received, _tolerant_output(), _one_line_logging():
        try:
            options = parser.parse_args(arguments)
            options.run(options)
        except InputError as error:
            return _fail(name, str(error), BAD_INPUT)
        except KeyboardInterrupt as interrupt:
            return _fail(name, str(interrupt) or "Interrupted.", 128 + received[0] if received else INTERRUPTED)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            return _fail(name, f"{place}{error.strerror or error}: check the path.", BAD_INPUT)
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return _fail(name, "There is not enough memory: lower --frames-per-batch or --size.", BAD_INPUT)
    return 0


def out_of_memory(error: Exception) -> bool:
    """Return whether an error means that a device has too little memory."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)  # torch on a CPU
    )


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """Let termination end a run as an interrupt does, so that it can clean up; yields the signals received."""
    received: list[int] = []

    def stop(number: int, frame) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)  # Windows has no hang-up
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:
            with contextlib.suppress(ValueError):  # only the main thread may
                before[number] = signal.signal(number, stop)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _OneLine(logging.Formatter):
    """Messages in one line each, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(" ".join(super().format(record).split()))


@contextlib.contextmanager
def _one_line_logging() -> Iterator[None]:
    """Write messages of the log to stderr, unless somebody else shows them."""
    root, handler = logging.getLogger(), logging.StreamHandler()
    handler.setFormatter(_OneLine("%(message)s"))
    if root.handlers:
        yield
        return
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


class _Tolerant:
    """A stream for texts from files, which shows control characters and what its encoding lacks as escape sequences.

    Line ends and the carriage returns and cursor movements of progress bars pass. Its reader may close it, as `| head`
    does: the rest is discarded.
    """

    def __init__(self, stream):
        self._stream = stream
        self._encoding = getattr(stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        shown = CURSOR_UP.join(printable(part, "\n\r\t") for part in text.split(CURSOR_UP))
        shown = shown.encode(self._encoding, "backslashreplace").decode(self._encoding)
        self._ignoring_closed_pipes(self._stream.write, shown)
        return len(text)

    def flush(self) -> None:
        self._ignoring_closed_pipes(self._stream.flush)

    def _ignoring_closed_pipes(self, do: Callable, *arguments) -> None:
        try:
            do(*arguments)
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second is Windows' name for it
                raise
            nowhere = os.open(os.devnull, os.O_WRONLY)  # also for what is flushed when Python ends
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


@contextlib.contextmanager
def _tolerant_output() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        nowhere = stack.enter_context(open(os.devnull, "w"))  # for streams that were closed from the beginning
        out, err = (_Tolerant(stream or nowhere) for stream in (sys.stdout, sys.stderr))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            yield
        finally:
            out.flush()
            err.flush()


def _fail(name: str, message: str, status: int) -> int:
    print(f"{name}:", printable(" ".join(message.split())), file=sys.stderr)
    return status
