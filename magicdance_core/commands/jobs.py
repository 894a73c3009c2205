"""Many runs of `animate` from one table: checked before the first starts, each failure told, resumable, in parts."""

from __future__ import annotations

import argparse
import copy
import csv
import difflib
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..checks import csv_text
from ..errors import InputError
from ..files import check_target, existing_file, fingerprint, read_json, write_text
from ..launcher import rank_and_size

MAX_TABLE_BYTES, MAX_JOBS = 2**24, 100_000
DETECTIONS, REPORT = "detections", "report.csv"
UNUSED = ("jobs", "run", "parser", "detections")
STATUSES = ("done", "failed")
YES, NO = ("yes", "true", "1"), ("", "no", "false", "0")

Check = Callable[[argparse.Namespace], None]
Inputs = Callable[[argparse.Namespace], dict[str, Path]]


@dataclass(frozen=True)
class Job:
    """A row of the table (numbered from 1, after the head), its options, and the files and folders that it reads."""

    row: int
    options: argparse.Namespace
    inputs: dict[str, Path]

    @property
    def key(self) -> str:
        """A hash of the options, by which a finished job is recognised."""
        values = {name: str(value) for name, value in vars(self.options).items() if name not in UNUSED}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]

    def contents(self, digest: Callable[[Path], str]) -> str:
        """Return digests of the inputs, by which a finished job of other contents is done again."""
        return " ".join(f"{name}: {digest(path)}" for name, path in self.inputs.items())


def read_jobs(
    table: Path, parser: argparse.ArgumentParser, shared: argparse.Namespace, check: Check, inputs: Inputs
) -> list[Job]:
    """Read a CSV table whose columns are named like the command's options (reference, video, out, seed, ...).

    parser: the command's. shared: the options of the command line, for what a row leaves empty. check: raises
    InputError for options that cannot be run. inputs: returns the files and folders that a job reads, by name.
    Raises InputError that names the first row that cannot be run, before anything is done.
    """
    rows = _rows(table)
    options = {action.dest: action for action in parser._actions if action.option_strings and action.dest != "help"}
    columns = list(rows[0]) if rows else []
    for column in columns:
        if _name(column) not in options or _name(column) in UNUSED:
            close = difflib.get_close_matches(_name(column), options, 1)
            hint = f": did you mean {close[0]}?" if close else ": name it like an option of animate."
            raise InputError(f"{table}: the column {column!r} is unknown{hint}")
    jobs, wrong, outs, read = [], [], set(), {}
    for number, row in enumerate(rows, 1):
        try:
            namespace = copy.copy(shared)
            for column, cell in row.items():  # a row replaces what may be repeated on the command line
                if cell.strip() and isinstance(options[_name(column)], argparse._AppendAction):
                    setattr(namespace, _name(column), [])
            parser.parse_args(_arguments(row, options), namespace)
            check(namespace)
            if (out := namespace.out.resolve()) in outs:
                raise InputError(f"{namespace.out} is the result of another row, too: give each its own.")
            outs.add(out)
            job = Job(number, namespace, inputs(namespace))
            read |= {path.resolve(): number for path in job.inputs.values()}
            jobs.append(job)
        except InputError as error:
            wrong.append(f"row {number}: {error}")
    wrong += [
        f"row {job.row}: {job.options.out} is read by row {read[out]}: give the result another name."
        for job in jobs if (out := job.options.out.resolve()) in read
    ]  # fmt: skip
    if wrong:
        more = f" {len(wrong) - 1} more rows are wrong." if len(wrong) > 1 else ""
        raise InputError(f"{table}, {wrong[0]}{more}")
    if not jobs:
        raise InputError(f"{table} has no rows: give one for each job below the names of the columns.")
    return jobs


def run_jobs(jobs: Sequence[Job], table: Path, run: Callable[[argparse.Namespace], None]) -> None:
    """Run this process' part of the jobs; what is done already is skipped, and a failure does not stop the others.

    Done is a job whose result is there, made with the same options of inputs with the same contents. Each job's outcome
    is kept beside the table, in TABLE.jobs/, where the report is. Raises InputError at the end if a job failed.
    """
    rank, size = rank_and_size()
    folder = table.with_name(f"{table.name}.jobs")
    part = jobs[rank::size]
    for file in (*(_file(folder, job) for job in part), folder / REPORT):
        check_target(file)
    digest = cache(fingerprint)  # rows share models and videos
    for number, job in enumerate(part, 1):
        start, contents = time.monotonic(), ""
        outcome: dict[str, object] = {"status": "done", "message": ""}
        try:
            contents, before = job.contents(digest), _outcome(folder, job)
            same = before.get("contents", contents) == contents  # earlier versions did not store them
            if before.get("status") == "done" and same and job.options.out.exists():
                continue
            print(f"[{number}/{len(part)}] row {job.row}: {job.options.out}")
            job.options.detections = folder / DETECTIONS
            job.options.resume = job.options.out.is_dir()
            run(job.options)
        except (InputError, OSError) as error:
            outcome = {"status": "failed", "message": str(error)}
            print(f"row {job.row} failed: {error}", file=sys.stderr)
        outcome |= {"key": job.key, "contents": contents, "seconds": round(time.monotonic() - start, 1)}
        write_text(_file(folder, job), json.dumps(outcome, indent=1) + "\n")
    outcomes = {job.row: _outcome(folder, job) for job in jobs}
    write_text(folder / REPORT, _report(jobs, outcomes))
    failed = [job.row for job in part if outcomes[job.row].get("status") == "failed"]
    print(f"{len(part) - len(failed)} of {len(part)} jobs done; report in {folder / REPORT}")
    if failed:
        raise InputError(f"{len(failed)} of {len(part)} jobs failed, row {failed[0]} first: see {folder / REPORT}.")


def _rows(table: Path) -> list[dict[str, str]]:
    if existing_file(table).stat().st_size > MAX_TABLE_BYTES:
        raise InputError(f"{table} is larger than {MAX_TABLE_BYTES / 1e6:.0f} MB: give a table of jobs.")
    try:
        text = table.read_bytes().decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        names = [_name(column) for column in reader.fieldnames or ()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise InputError(f"{table} has two columns {min(twice)!r}: remove one.")
        rows = [dict(row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} is no CSV table in UTF-8 ({error}): save it as one.") from error
    if len(rows) > MAX_JOBS:
        raise InputError(f"{table} has {len(rows)} rows: give at most {MAX_JOBS}.")
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise InputError(f"{table}, row {number}: there are more or fewer cells than columns: give one for each.")
    return rows


def _name(column: str) -> str:
    return column.strip().lstrip("-").replace("-", "_")


def _arguments(row: dict[str, str], options: dict[str, argparse.Action]) -> list[str]:
    """Return a row as a command line; empty cells are left out. Raises InputError for cells that cannot be values."""
    arguments = []
    for column, cell in row.items():
        action, cell = options[_name(column)], cell.strip()
        option = action.option_strings[-1]
        if action.nargs == 0:
            if cell.lower() not in YES + NO:
                raise InputError(f"{column} is {cell!r}: give yes or no.")
            arguments += [option] if cell.lower() in YES else []
        elif cell and action.nargs:
            values = cell.split()
            if other := next((value for value in values if value.startswith("--")), None):
                raise InputError(f"{column} is {cell!r}: give values only, {other} is an option.")
            arguments += [option, *values]
        elif cell:
            arguments.append(f"{option}={cell}")
    return arguments


def _file(folder: Path, job: Job) -> Path:
    return folder / f"{job.row:05d}.json"


def _outcome(folder: Path, job: Job) -> dict:
    """Return what is known of a job from an earlier run with the same options."""
    try:
        outcome = read_json(_file(folder, job), "a report of animate")
    except InputError:
        return {}
    if not isinstance(outcome, dict) or outcome.get("key") != job.key or outcome.get("status") not in STATUSES:
        return {}
    return outcome if isinstance(outcome.get("seconds"), float) else outcome | {"seconds": ""}


def _report(jobs: Sequence[Job], outcomes: dict[int, dict]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["row", "out", "status", "seconds", "message"])
    for job in jobs:
        outcome = outcomes[job.row]
        message = str(outcome.get("message", ""))
        writer.writerow(
            [
                job.row,
                csv_text(str(job.options.out)),
                outcome.get("status", "open"),
                outcome.get("seconds", ""),
                csv_text(message),
            ]
        )
    return text.getvalue()
