"""Decode OpenPose's heat maps and part affinity fields to keypoints of people."""

import cv2
import numpy as np

STRIDE = 8
BLUR = 2.0


def upsample(maps: np.ndarray) -> np.ndarray:
    """Return heat maps [C, h, w] in the size of the network's input, float32 [8h, 8w, C] (bicubic)."""
    height, width = (STRIDE * side for side in maps.shape[1:])
    channels = [cv2.resize(channel, (width, height), interpolation=cv2.INTER_CUBIC) for channel in maps]
    return np.stack(channels, axis=-1)


def find_peaks(heat: np.ndarray, threshold: float) -> np.ndarray:
    """Return the local maxima of a blurred map [H, W] above the threshold: [N, 3] x, y, value of the map.

    x and y are in pixels from the top left corner of the map (pixel centres at 0.5), with sub-pixel precision by a
    parabola through the neighbours.
    """
    blurred = cv2.GaussianBlur(heat, (0, 0), BLUR)
    highest = (blurred >= cv2.dilate(blurred, np.ones((3, 3)))) & (blurred > threshold)
    rows, columns = np.nonzero(highest)
    return np.array([_refine(heat, blurred, x, y) for x, y in zip(columns, rows)]).reshape(-1, 3)


def highest_peaks(maps: np.ndarray, threshold: float) -> np.ndarray:
    """Return the highest peak of each map [C, h, w]: [C, 3] x, y in pixels of `upsample`, value; else zeros."""
    points = np.zeros((len(maps), 3))
    for k, heat in enumerate(np.moveaxis(upsample(maps), -1, 0)):
        blurred = cv2.GaussianBlur(heat, (0, 0), BLUR)
        y, x = np.unravel_index(blurred.argmax(), blurred.shape)
        if blurred[y, x] > threshold:
            points[k] = _refine(heat, blurred, x, y)
    return points


def _refine(heat: np.ndarray, blurred: np.ndarray, x: int, y: int) -> tuple[float, float, float]:
    row, column = blurred[y], blurred[:, x]
    return x + 0.5 + _parabola_offset(row, x), y + 0.5 + _parabola_offset(column, y), float(np.clip(heat[y, x], 0, 1))


def _parabola_offset(line: np.ndarray, i: int) -> float:
    """Return the offset from i, -0.5 to 0.5, where the parabola through i and its neighbours is highest."""
    if not 0 < i < len(line) - 1:
        return 0.0
    before, here, after = line[i - 1 : i + 2].astype(float)
    curvature = before - 2 * here + after
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0


# The limbs of the COCO body network and the channels of their fields; the last two only join existing people.
LIMBS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17), (2, 16), (5, 17),
)  # fmt: skip
FIELDS = (12, 20, 14, 16, 22, 24, 0, 2, 4, 6, 8, 10, 28, 30, 34, 32, 36, 18, 26)  # of x; y is the next
_TREE_LIMBS = 17

JOINT_THRESHOLD = 0.1
FIELD_THRESHOLD = 0.05
MIN_FIELD_SHARE = 0.8
SAMPLES = 10
MIN_JOINTS = 4
MIN_SCORE = 0.4


def people_from_maps(fields: np.ndarray, joints: np.ndarray) -> list[np.ndarray]:
    """Return bodies [18, 3], in pixels of the network's input, from part affinities [38, h, w] and joints [19, h, w].

    Limb by limb, joint candidates are connected greedily by how well the field between them points from one to the
    other. People with too few joints or too low a mean score are dropped.
    Source: Cao et al., arXiv 1611.08050, section 2; thresholds as released.
    """
    joint_maps, field_maps = upsample(joints[:18]), upsample(fields)
    candidates = [find_peaks(joint_maps[..., k], JOINT_THRESHOLD) for k in range(18)]
    people: list[dict[int, int]] = []  # joint -> candidate
    scores: list[float] = []
    for number, ((a, b), field) in enumerate(zip(LIMBS, FIELDS)):
        for i, j, score in _connections(field_maps[..., field : field + 2], candidates[a], candidates[b]):
            _join(people, scores, (a, i), (b, j), score, grow=number < _TREE_LIMBS)
    bodies = []
    for person, score in zip(people, scores):
        score += sum(candidates[joint][i, 2] for joint, i in person.items())
        if len(person) >= MIN_JOINTS and score / len(person) >= MIN_SCORE:
            body = np.zeros((18, 3), np.float32)
            for joint, i in person.items():
                body[joint] = candidates[joint][i]
            bodies.append(body)
    return bodies


def _connections(field: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> list[tuple[int, int, float]]:
    """Return pairs of candidates that the field [H, W, 2] connects (start, end, score), each candidate at most once."""
    height, width = field.shape[:2]
    found = []
    for i, start in enumerate(starts[:, :2]):
        for j, end in enumerate(ends[:, :2]):
            length = float(np.linalg.norm(end - start))
            if length == 0:
                continue
            line = np.linspace(start, end, SAMPLES)
            x, y = line[:, 0].astype(int).clip(0, width - 1), line[:, 1].astype(int).clip(0, height - 1)
            along = field[y, x] @ ((end - start) / length)
            score = along.mean() + min(0.5 * height / length - 1, 0)  # limbs longer than half the picture are unlikely
            if score > 0 and (along > FIELD_THRESHOLD).mean() >= MIN_FIELD_SHARE:
                found.append((i, j, float(score)))
    found.sort(key=lambda connection: -connection[2])
    used: tuple[set[int], set[int]] = (set(), set())
    chosen = []
    for i, j, score in found:
        if i not in used[0] and j not in used[1]:
            used[0].add(i)
            used[1].add(j)
            chosen.append((i, j, score))
    return chosen


def _join(people, scores, start: tuple[int, int], end: tuple[int, int], score: float, grow: bool) -> None:
    """Add a limb to the person (or join the two people) that have one of its ends, or start a new person with it."""
    owners = [k for k, p in enumerate(people) if start in p.items() or end in p.items()]
    limb = dict([start, end])
    if not owners:
        if grow:
            people.append(limb)
            scores.append(score)
        return
    first = owners[0]
    if len(owners) > 1:
        second = owners[1]
        if people[first].keys() & people[second].keys():
            return  # people who share a joint of the same kind stay separate
        people[first] |= people.pop(second)
        scores[first] += scores.pop(second) + score
    elif grow and not any(people[first].get(joint, i) != i for joint, i in limb.items()):
        if limb.items() - people[first].items():
            scores[first] += score
        people[first] |= limb
