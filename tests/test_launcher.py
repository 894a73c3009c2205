"""What `accelerate launch` and `torchrun` say about a process; what cannot be is refused in a sentence."""

import pytest

from magicdance_core import train
from magicdance_core.__main__ import main
from magicdance_core.errors import InputError
from magicdance_core.launcher import rank_and_size


def test_a_process_knows_its_number(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert rank_and_size() == (0, 1)
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", " 4 ")
    assert rank_and_size() == (3, 4)


@pytest.mark.parametrize(
    "rank, size",
    [
        ("a", "1"),
        ("0", "b"),
        ("5", "2"),
        ("2", "2"),
        ("-1", "2"),
        ("0", "0"),
        ("1.5", "2"),
        ("0", "9" * 5000),
        ("²", "3"),
    ],
)
def test_numbers_that_cannot_be_are_refused(rank, size, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", size)
    with pytest.raises(InputError, match="unset"):
        rank_and_size()
    assert train.main(["smoke", "--out", str(tmp_path / "run")]) == 2
    assert main(["benchmark", "--no-such-option"]) == 2  # other commands do not mind
    first, second = capsys.readouterr().err.splitlines()
    assert "RANK" in first or "WORLD_SIZE" in first
    assert "RANK" not in second and not (tmp_path / "run").exists()
