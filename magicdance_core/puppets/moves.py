"""Dance moves: four key poses each, one per beat, as the fields of BodyPose that they set.

Moves of arms, legs, torso and head, and expressions are independent, so that a phrase can combine any of them. The
choreography clips values to the joint limits.
"""

from .random_stream import RandomStream

Key = dict[str, float]

# Curl of thumb, index, middle, ring and little finger, then the spread.
_HANDS = {
    "open": (0.0, 0.0, 0.0, 0.0, 0.0, 0.7),
    "jazz": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "flat": (0.3, 0.0, 0.0, 0.0, 0.0, 0.0),
    "relaxed": (0.1, 0.15, 0.2, 0.25, 0.25, 0.3),
    "fist": (0.9, 1.0, 1.0, 1.0, 1.0, 0.0),
    "point": (0.7, 0.0, 1.0, 1.0, 1.0, 0.2),
    "peace": (0.9, 0.0, 0.0, 1.0, 1.0, 1.0),
    "horns": (0.8, 0.0, 1.0, 1.0, 0.0, 0.8),
    "thumb": (0.0, 1.0, 1.0, 1.0, 1.0, 0.8),
}


def arm(side: str, raised: float, bent: float, hand: str = "relaxed", wrist: float = 0.0, reach=1.0, fore=1.0) -> Key:
    """Return the fields of one arm and its hand."""
    names = ("thumb", "index", "middle", "ring", "pinky", "spread")
    key = {f"{side}_{name}": value for name, value in zip(names, _HANDS[hand])}
    values = {"arm": raised, "elbow": bent, "wrist": wrist, "reach": reach, "fore": fore}
    return key | {f"{side}_{name}": value for name, value in values.items()}


def arms(right: tuple, left: tuple) -> Key:
    """Return the fields of both arms, each given as arguments of `arm`."""
    return arm("right", *right) | arm("left", *left)


def legs(right: tuple, left: tuple, crouch: float = 0.1, root_x: float = 0.0, hip_tilt: float = 0.0, hop=0.0) -> Key:
    """Return the fields of both legs, each given as (foot x, foot y, knee), and of the hips."""
    key = {"crouch": crouch, "root_x": root_x, "hip_tilt": hip_tilt, "hop": hop}
    for side, values in (("right", right), ("left", left)):
        key |= {f"{side}_{name}": value for name, value in zip(("foot_x", "foot_y", "knee"), values)}
    return key


def arm_move(rng: RandomStream) -> list[Key]:
    """Return four key poses of both arms."""
    a = rng.uniform(-12, 12)
    hand = rng.choice(("open", "fist", "point", "peace", "relaxed", "jazz", "horns"))
    on_hip = (52, -108, "fist")
    low = (25 + a, 12, "relaxed")
    up = (150 + a, 12, hand)
    moves = {
        "groove": (((30, 70 + a, "fist"), (40, -50, "fist")), ((40, -50, "fist"), (30, 70 + a, "fist"))) * 2,
        "disco": (((140 + a, 5, "point"), on_hip), ((-20, -35, "point"), on_hip)) * 2,
        "hips": ((on_hip, on_hip), (on_hip, (70 + a, 60, hand)), (on_hip, on_hip), ((70 + a, 60, hand), on_hip)),
        "wave": (((108, -40, "flat", -35), (75, 30, "flat", 30)), ((80, 30, "flat", 35), (85, 5, "flat", -30)),
                 ((75, 30, "flat", 30), (108, -40, "flat", -35)), ((85, 5, "flat", -30), (80, 30, "flat", 35))),
        "clap": (((20, -140, "flat"), (20, -140, "flat")), ((60 + a, 65, "open"), (60 + a, 65, "open"))) * 2,
        "clap high": (((135, 62, "flat", 0), (135, 62, "flat", 0)), ((115, 10 + a, "open"), (115, 10 + a, "open"))) * 2,
        "sway up": (((165, -20, "open"), (130, 25, "open")), ((130, 25, "open"), (165, -20, "open"))) * 2,
        "cactus": (((88, 88, hand), (88, 88, hand)), ((88, -80, hand), (88, 88, hand)), ((88, -80, hand),
                   (88, -80, hand)),
                   ((88, 88, hand), (88, -80, hand))),
        "robot": (((85, 90, "flat"), (85, -90, "flat")), ((20, 85, "flat"), (20, 85, "flat")),
                  ((85, -90, "flat"), (85, 90, "flat")), ((20, -60, "flat"), (85, 0, "flat"))),
        "roof": (((75, 85, "flat", 55), (75, 85, "flat", 55)), ((105, 65, "flat", 55), (105, 65, "flat", 55))) * 2,
        "roll": (((38, -130, "fist"), (38, -95, "fist")), ((38, -95, "fist"), (38, -130, "fist"))) * 2,
        "dab": (((118, 0, "flat"), (85, -140, "fist", 0, 0.8, 0.8)), (low, low), ((85, -140, "fist", 0, 0.8, 0.8),
                (118, 0, "flat")),
                (low, low)),
        "guitar": (((32, -75, "fist"), (72, 25, "fist")), ((20, -45, "fist"), (78, 18, "fist"))) * 2,
        "hello": (((105, 55, "jazz", 30), on_hip), ((105, 75, "jazz", -30), on_hip)) * 2,
        "snap": (((62, 62, "thumb"), low), (low, (62, 62, "thumb"))) * 2,
        "egypt": (((90, 85, "flat", -55), (90, -85, "flat", -55)), ((90, -85, "flat", -55), (90, 85, "flat", -55))) * 2,
        "crown": (((140, 70, "relaxed"), (140, 70, "relaxed")), ((75, 15, "open"), (75, 15, "open")), (low, low),
                  ((75, 15, "open"), (75, 15, "open"))),
        "punch": (((70, 20, "fist", 0, 0.6, 0.55), (40, 110, "fist", 0, 1, 0.7)),
                  ((40, 110, "fist", 0, 1, 0.7), (70, 20, "fist", 0, 0.6, 0.55))) * 2,
        "jazz": (((48 + a, 8, "jazz"), (48 + a, 8, "jazz")), ((130 + a, 5, "jazz"), (130 + a, 5, "jazz"))) * 2,
        "lasso": (((150, 35, "fist"), on_hip), ((140, -15, "fist"), on_hip), ((165, -5, "fist"), on_hip),
                  ((150, 30, "fist"), on_hip)),
        "diagonal": (((145 + a, 0, hand), (40, 0, hand)), ((40, 0, hand), (145 + a, 0, hand))) * 2,
        "reach": ((up, low), (up, up), (low, up), (low, low)),
        "hug": (((25, -115, "open"), (25, -115, "open")), ((90 + a, 0, "open"), (90 + a, 0, "open"))) * 2,
        "muscle": (((80, 115, "fist"), (80, 115, "fist")), ((60, 80 + a, "fist"), (95, 110, "fist")),
                   ((80, 115, "fist"), (80, 115, "fist")), ((95, 110, "fist"), (60, 80 + a, "fist"))),
        "wings": (((95, 20, "flat", 25), (95, 20, "flat", 25)), ((55, 10, "flat", -25), (55, 10, "flat", -25))) * 2,
        "peek": (((70, 140, "peace", 0, 0.9, 0.9), on_hip), ((95, 30, "open"), on_hip),
                 (on_hip, (70, 140, "peace", 0, 0.9, 0.9)),
                 (on_hip, (95, 30, "open"))),
    }  # fmt: skip
    return [arms(*pair) for pair in moves[rng.choice(tuple(moves))]]


def leg_move(rng: RandomStream) -> list[Key]:
    """Return four key poses of hips and legs."""
    w = rng.uniform(0.22, 0.42)  # half the stance
    s = rng.uniform(0.03, 0.065)  # sway
    stand = legs((w, 0, 0.6), (w, 0, 0.6), 0.12)
    moves = {
        "bounce": (stand, legs((w, 0, 0.9), (w, 0, 0.9), 0.45)) * 2,
        "step touch": (legs((0.48, 0, 0.5), (0.10, 0, 0.7), 0.15, -s), legs((0.48, 0, 0.4), (-0.22, 0, 0.2),
                       0.22, -s - 0.02),
                       legs((0.10, 0, 0.7), (0.48, 0, 0.5), 0.15, s), legs((-0.22, 0, 0.2), (0.48, 0, 0.4),
                            0.22, s + 0.02)),
        "squat": (legs((w + 0.1, 0, 1), (w + 0.1, 0, 1), 0.95), legs((w + 0.1, 0, 0.7), (w + 0.1, 0, 0.7), 0.15)) * 2,
        "kick": (legs((0.62, 0.42, 0.3), (0.10, 0, 0.3), 0.1, s), stand, legs((0.10, 0, 0.3), (0.62, 0.42, 0.3),
                 0.1, -s), stand),
        "knee up": (legs((0.22, 0.48, 0.95), (0.14, 0, 0.4), 0.08, s * 0.7, 5), stand,
                    legs((0.14, 0, 0.4), (0.22, 0.48, 0.95), 0.08, -s * 0.7, -5), stand),
        "knee across": (legs((0.05, 0.40, -0.8), (0.16, 0, 0.4), 0.1, s * 0.7, 6), stand,
                        legs((0.16, 0, 0.4), (0.05, 0.40, -0.8), 0.1, -s * 0.7, -6), stand),
        "twist": (legs((w, 0, 1), (w, 0, -0.9), 0.55, -s * 0.5, -6), legs((w, 0, -0.9), (w, 0, 1),
                  0.55, s * 0.5, 6)) * 2,
        "hips": (legs((w, 0, 0.6), (w, 0, 0.9), 0.18, -s - 0.01, 10), legs((w, 0, 0.9), (w, 0, 0.6),
                 0.18, s + 0.01, -10)) * 2,
        "lunge": (legs((0.78, 0, 1), (0.30, 0, 0.5), 0.55, -0.06, 4), legs((w, 0, 0.7), (w, 0, 0.7), 0.15),
                  legs((0.30, 0, 0.5), (0.78, 0, 1), 0.55, 0.06, -4), legs((w, 0, 0.7), (w, 0, 0.7), 0.15)),
        "knock": (legs((w + 0.06, 0, -1), (w + 0.06, 0, -1), 0.5), legs((w + 0.02, 0, 1), (w + 0.02, 0, 1), 0.5)) * 2,
        "jack": (legs((0.52, 0, 0.8), (0.52, 0, 0.8), 0.3), legs((0.12, 0.02, 0.6), (0.12, 0.02, 0.6),
                 0.2, hop=0.5)) * 2,
        "cross": (legs((-0.24, 0, 0.5), (0.26, 0, 0.6), 0.25, s), legs((w, 0, 0.6), (w, 0, 0.6), 0.1),
                  legs((0.26, 0, 0.6), (-0.24, 0, 0.5), 0.25, -s), legs((w, 0, 0.6), (w, 0, 0.6), 0.1)),
        "tap": (legs((0.60, 0.0, 0.5), (0.14, 0, 0.9), 0.38, s), legs((0.18, 0, 0.7), (0.14, 0, 0.7), 0.1),
                legs((0.14, 0, 0.9), (0.60, 0.0, 0.5), 0.38, -s), legs((0.14, 0, 0.7), (0.18, 0, 0.7), 0.1)),
        "run": (legs((0.16, 0.26, 0.3), (0.20, 0, 0.6), 0.25, s * 0.5), legs((0.20, 0, 0.6), (0.16, 0.26, 0.3),
                0.25, -s * 0.5)) * 2,
        "wide": (legs((0.55, 0, 0.9), (0.55, 0, 0.9), 0.3, -s), legs((0.55, 0, 0.9), (0.55, 0, 0.9), 0.45, s)) * 2,
        "tiptoe": (legs((0.12, 0, 0.4), (0.12, 0, 0.9), 0.06, -0.02, -7), legs((0.12, 0, 0.9), (0.12, 0, 0.4),
                   0.06, 0.02, 7)) * 2,
        "heel back": (legs((0.34, 0.36, -0.9), (0.16, 0, 0.6), 0.2, s * 0.6), stand, legs((0.16, 0, 0.6),
                      (0.34, 0.36, -0.9), 0.2, -s * 0.6),
                      stand),
    }  # fmt: skip
    return list(moves[rng.choice(tuple(moves))])


def torso_move(rng: RandomStream) -> list[Key]:
    """Return four key poses of torso and head."""
    lean, tilt, turn = rng.uniform(2, 14), rng.uniform(2, 10), rng.uniform(0, 26)
    yaw, roll, nod = rng.uniform(5, 30), rng.uniform(3, 20), rng.uniform(3, 15)
    if rng.chance(0.5):
        lean = -lean
    if rng.chance(0.4):
        yaw = -yaw
    moves = {
        "steady": ({"head_yaw": yaw * 0.4}, {"head_nod": nod}) * 2,
        "side to side": ({"lean": -lean, "head_tilt": roll}, {"lean": lean, "head_tilt": -roll}) * 2,
        "shimmy": ({"shoulder_tilt": tilt, "turn": turn}, {"shoulder_tilt": -tilt, "turn": -turn}) * 2,
        "look": ({"head_yaw": yaw, "gaze_x": 0.5}, {"head_yaw": yaw, "head_tilt": roll}, {"head_yaw": -yaw,
                 "gaze_x": -0.5},
                 {"head_yaw": -yaw, "head_tilt": -roll}),
        "bob": ({"head_nod": nod, "shrug": 0.6}, {"head_nod": -nod * 0.7}) * 2,
        "lean and look": ({"lean": lean, "head_yaw": yaw}, {"lean": lean * 0.5, "head_nod": nod}, {"lean": -lean,
                          "head_yaw": -yaw}, {}),
        "tick": ({"head_tilt": roll}, {"head_tilt": -roll}) * 2,
        "proud": ({"head_nod": -nod, "shoulder_tilt": tilt}, {"head_nod": -nod, "shoulder_tilt": -tilt}) * 2,
    }  # fmt: skip
    return [dict(key) for key in moves[rng.choice(tuple(moves))]]


_EXPRESSIONS = (
    {"smile": 0.6},
    {"smile": 1.0, "mouth_open": 0.55, "mouth_width": 0.4, "brow_raise": 0.3},
    {"smile": -0.1, "mouth_open": 0.9, "mouth_width": -0.5, "brow_raise": 0.8, "right_eye": 1.1, "left_eye": 1.1},
    {"smile": 0.9, "right_eye": 0.0, "left_eye": 0.0, "brow_raise": 0.3},
    {"smile": 0.8, "right_eye": 0.05, "mouth_open": 0.2, "brow_raise": 0.2},
    {"smile": -0.5, "brow_frown": 0.8, "right_eye": 0.75, "left_eye": 0.75},
    {"smile": 0.3, "mouth_width": -0.9, "mouth_open": 0.12, "brow_raise": 0.4},
    {"smile": 0.7, "brow_frown": 0.6, "mouth_open": 0.3, "mouth_width": 0.5},
    {"smile": 0.1, "right_eye": 0.55, "left_eye": 0.55, "brow_raise": 0.2},
    {"smile": 0.4, "gaze_y": -0.8, "brow_raise": 0.7},
    {"smile": 0.9, "mouth_open": 0.8, "mouth_width": 0.2, "right_eye": 0.1, "left_eye": 0.1},
)


def expression(rng: RandomStream) -> list[Key]:
    """Return four key poses of the face; some sing."""
    face = rng.choice(_EXPRESSIONS)
    if not rng.chance(0.35):
        return [dict(face)] * 4
    return [face | {"mouth_open": rng.uniform(0.0, 0.9), "mouth_width": rng.uniform(-0.7, 0.5)} for _ in range(4)]
