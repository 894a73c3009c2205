"""Poses without their face landmarks and hands."""

import numpy as np

from magicdance_core.pose.parts import HIDEABLE, without_parts
from magicdance_core.puppets import Choreography, Identity, puppet_keypoints


def test_hidden_points_are_missing_and_the_others_stay():
    frame = puppet_keypoints(Identity.from_seed(0), Choreography.from_seed(0).pose(40), 64)
    for hidden in ((), ("face",), ("right_hand", "face"), HIDEABLE):
        person = without_parts(frame, hidden).people[0]
        for part in ("body", "feet", *HIDEABLE):
            wanted = getattr(frame.people[0], part)
            assert np.array_equal(getattr(person, part), wanted * (part not in hidden))
