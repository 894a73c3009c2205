"""Numbers over frames: constants, lists and texts."""

import numpy as np
import pytest

from magicdance_core.errors import InputError
from magicdance_core.schedules import curve


@pytest.mark.parametrize(
    "schedule, wanted",
    [
        (0.5, [0.5] * 6),
        ("0.5", [0.5] * 6),
        ([0, 1], [0, 1, 1, 1, 1, 1]),
        (np.linspace(0, 1, 9), np.linspace(0, 1, 9)[:6]),
        ("0, 0.5, 1", [0, 0.5, 1, 1, 1, 1]),
        ("0: 0, 4: 1", [0, 0.25, 0.5, 0.75, 1, 1]),
        ("2:(-1.0),\n 3: (1),", [-1, -1, -1, 1, 1, 1]),
        ("4: 2e-1", [0.2] * 6),
    ],
)
def test_forms_of_a_schedule(schedule, wanted):
    assert np.allclose(curve(schedule, 6, "smile", -1, 1), wanted)


@pytest.mark.parametrize(
    "schedule, message",
    [
        (2.0, "smile is 2.0: give -1 to 1"),
        ([0, float("nan")], "smile is nan at frame 1: give -1 to 1"),
        ([0.5, 1.5], "smile is 1.5 at frame 1"),
        ([], "smile is empty"),
        ("0: 0, 5: 3", "smile at frame 5 is 3.0: give -1 to 1"),
        ("a lot", "smile is 'a lot': give a number, or frames and values such as 0: 0, 12: 1"),
        ("0: 0, 5", "give a number, or frames"),
        ("0: 1.2.3", "give a number, or frames"),
        ("5: 0, 2: 1", "whose frames do not increase"),
        (None, "smile is None"),
        ("nan", "smile is nan"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule, message):
    with pytest.raises(InputError, match=message):
        curve(schedule, 6, "smile", -1, 1)
