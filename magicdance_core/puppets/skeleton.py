"""Compute joints from identity and pose: complex points x + iy in units of the square scene's side, y down."""

from cmath import rect
from dataclasses import dataclass
from math import cos, radians, sin, sqrt

from .body_pose import BodyPose
from .identity import Identity

GROUND = 0.955
_ANKLE = 0.026  # above the sole
_THIGH = 0.52  # share of the leg above the knee

SIDES = ("right", "left")
SIGNS = (-1, 1)  # the person's right is the picture's left


@dataclass(frozen=True)
class Head:
    """The head's coordinate frame: local (x, y) run from -1 to 1 across the face and from skull to chin."""

    centre: complex
    right: complex  # half the head's width, towards the picture's right
    down: complex  # half its height, towards the chin
    yaw: float  # sines of the angles
    nod: float

    def at(self, x: float, y: float, depth: float | None = None) -> complex:
        """Return the scene point of a local point; depth is by default that of a sphere's front, -1 is the back."""
        if depth is None:
            depth = sqrt(max(0.0, 1 - 0.8 * x * x - 0.45 * y * y))
        x = x * sqrt(1 - self.yaw * self.yaw) + 0.60 * self.yaw * depth
        return self.centre + self.right * x + self.down * (y + 0.55 * self.nod * depth)

    def flat(self, x: float, y: float) -> complex:
        """Return the scene point of a local point that turns of the head do not move."""
        return self.centre + self.right * x + self.down * y


@dataclass(frozen=True)
class Skeleton:
    """Joints of a posed puppet; pairs and hands are (right, left), a hand is 21 points in OpenPose's order."""

    neck_base: complex
    pelvis: complex
    down: complex  # unit vector along the spine
    across: complex  # unit vector along the shoulder line, towards the picture's right
    hip_across: complex
    shoulders: tuple[complex, complex]
    elbows: tuple[complex, complex]
    wrists: tuple[complex, complex]
    hands: tuple[list[complex], list[complex]]
    hand_rolls: tuple[float, float]  # -1..1, 0 is a hand seen from its edge
    hips: tuple[complex, complex]
    knees: tuple[complex, complex]
    ankles: tuple[complex, complex]
    head: Head

    @property
    def neck(self) -> complex:
        """Return OpenPose's neck: midway between the shoulders."""
        return (self.shoulders[0] + self.shoulders[1]) / 2


def build_skeleton(identity: Identity, pose: BodyPose) -> Skeleton:
    """Return the joints of an identity in a pose."""
    leg = identity.leg_length - _ANKLE
    hip_across = rect(1, radians(pose.hip_tilt))
    pelvis, hips, ankles = _stand(identity, pose, leg, hip_across)
    right_knee, left_knee = (
        _knee(hips[i], ankles[i], leg, SIGNS[i] * knee) for i, knee in enumerate((pose.right_knee, pose.left_knee))
    )

    down = rect(1, radians(pose.lean)) * 1j
    torso = identity.height - identity.head_height - identity.neck_length - identity.leg_length
    neck_base = pelvis - down * torso
    across = rect(1, radians(0.7 * pose.lean + pose.shoulder_tilt))
    half = identity.shoulder_width * cos(radians(pose.turn))
    sink = down * (0.012 - 0.018 * pose.shrug)
    shoulders = tuple(neck_base + across * (sign * half) + sink for sign in SIGNS)
    arms = [_arm(identity, pose, i, shoulders[i], down) for i in range(2)]
    elbows, wrists, hands, rolls = zip(*arms)

    return Skeleton(
        neck_base, pelvis, down, across, hip_across, shoulders, elbows, wrists, hands, rolls, hips,
        (right_knee, left_knee), ankles,         _head(identity, pose, neck_base, down),
    )  # fmt: skip


def _stand(identity: Identity, pose: BodyPose, leg: float, hip_across: complex):
    """Return pelvis, hip joints and ankles; the hips are lowered until both legs reach their feet."""
    floor = GROUND - _ANKLE - 0.06 * pose.hop
    offsets = [hip_across * (sign * 0.60 * identity.hip_width) for sign in SIGNS]
    pelvis_x = 0.5 + pose.root_x
    pelvis_y = floor - leg * (1 - 0.36 * pose.crouch)
    ankles = []
    for sign, offset, x, y in zip(
        SIGNS, offsets, (pose.right_foot_x, pose.left_foot_x), (pose.right_foot_y, pose.left_foot_y)
    ):
        hip_x = pelvis_x + offset.real
        reach = min(max(0.5 + sign * x * leg - hip_x, -0.9 * leg), 0.9 * leg)
        ankle = complex(hip_x + reach, floor - y * leg)
        ankles.append(ankle)
        pelvis_y = max(pelvis_y, ankle.imag - offset.imag - sqrt((0.995 * leg) ** 2 - reach * reach))
    pelvis = complex(pelvis_x, pelvis_y)
    hips = tuple(pelvis + offset for offset in offsets)
    for i, (hip, ankle) in enumerate(zip(hips, ankles)):
        length = abs(ankle - hip)
        if length < 0.42 * leg:  # where calf and thigh touch
            ankles[i] = hip + (ankle - hip) * (0.42 * leg / length)
    return pelvis, hips, tuple(ankles)


def _knee(hip: complex, ankle: complex, leg: float, outwards: float) -> complex:
    thigh, shin = _THIGH * leg, (1 - _THIGH) * leg
    length = abs(ankle - hip)
    along = (ankle - hip) / length
    before = (length * length + thigh * thigh - shin * shin) / (2 * length)
    bulge = sqrt(max(0.0, thigh * thigh - before * before))
    return hip + along * before - along * 1j * (bulge * outwards)


def _arm(identity: Identity, pose: BodyPose, i: int, shoulder: complex, down: complex):
    """Return elbow, wrist, hand points and hand roll."""
    side, sign = SIDES[i], SIGNS[i]
    turn = getattr(pose, f"{side}_arm")
    upper = down * rect(1, -sign * radians(turn))
    turn += getattr(pose, f"{side}_elbow")
    lower = down * rect(1, -sign * radians(turn))
    elbow = shoulder + upper * (identity.upper_arm * getattr(pose, f"{side}_reach"))
    wrist = elbow + lower * (identity.lower_arm * getattr(pose, f"{side}_fore"))
    along = lower * rect(1, -sign * radians(getattr(pose, f"{side}_wrist")))
    # The thumb points up or to the body; in between, the hand is seen from its edge.
    roll = max(-1.0, min(1.0, 5 * (0.75 * along.imag - sign * along.real)))
    hand = _hand(identity.hand, pose, side, wrist, along, along * (sign * 1j * roll))
    return elbow, wrist, hand, roll


# Index, middle, ring and little finger, in hand lengths: start across and along the hand, length; angle in degrees.
_FINGERS = ((0.20, 0.44, 0.46, 17), (0.07, 0.47, 0.53, 6), (-0.07, 0.46, 0.48, -7), (-0.195, 0.42, 0.38, -20))
_SEGMENTS = (0.42, 0.32, 0.26)
_CURLS = (70, 150, 215)  # degrees out of the picture of each segment of a finger in the fist


def _hand(size: float, pose: BodyPose, side: str, wrist: complex, along: complex, thumbwards: complex):
    spread = getattr(pose, f"{side}_spread")
    curl = getattr(pose, f"{side}_thumb")
    point = complex(0.13, 0.13)
    points = [complex(0), point]
    for segment, bend in zip((0.17, 0.15, 0.13), (20, 45, 70)):
        point += rect(segment, radians(42 + 22 * spread - curl * bend))
        points.append(point)
    for (sideways, start, length, angle), name in zip(_FINGERS, ("index", "middle", "ring", "pinky")):
        curl = getattr(pose, f"{side}_{name}")
        direction = rect(length, radians(angle * (0.2 + 1.1 * spread)))
        point = complex(start, sideways)
        points.append(point)
        for segment, bend in zip(_SEGMENTS, _CURLS):
            point += direction * (segment * cos(radians(curl * bend)))
            points.append(point)
    return [wrist + size * (along * p.real + thumbwards * p.imag) for p in points]


def _head(identity: Identity, pose: BodyPose, neck_base: complex, down: complex) -> Head:
    towards_chin = 1j * rect(1, radians(0.5 * pose.lean + pose.head_tilt))
    half = identity.head_height / 2
    nod = sin(radians(pose.head_nod))
    chin = neck_base - (down + towards_chin) / 2 * (identity.neck_length - 0.006 * pose.shrug)
    return Head(
        centre=chin - towards_chin * (half * (1 - 0.12 * nod)),
        right=towards_chin * -1j * (identity.head_width / 2),
        down=towards_chin * half,
        yaw=sin(radians(pose.head_yaw)),
        nod=nod,
    )
