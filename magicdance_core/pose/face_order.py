"""Number face landmarks of a list from which the missing ones were left out."""

import numpy as np

LANDMARKS = 70
# An average upright face: x and y of the 68 iBUG landmarks and the pupils, relative to their centre, in percent of the
# mean distance from it. It is the mean face of our drawn people, made symmetric.
_AVERAGE_FACE = np.array([
    [-153, -56], [-151, -17], [-143, 18], [-129, 49], [-111, 76], [-89, 97], [-64, 113], [-35, 123], [0, 127],
    [35, 123], [64, 113], [89, 97], [111, 76], [129, 49], [143, 18], [151, -17], [153, -56],
    [-110, -121], [-87, -126], [-65, -127], [-42, -124], [-20, -116],
    [20, -116], [42, -124], [65, -127], [87, -126], [110, -121],
    [0, -45], [0, -31], [0, -17], [0, -4], [-22, 9], [-11, 12], [0, 15], [11, 12], [22, 9],
    [-99, -45], [-81, -67], [-45, -67], [-27, -45], [-45, -21], [-81, -20],
    [27, -45], [45, -67], [81, -67], [99, -45], [81, -20], [45, -21],
    [-49, 36], [-30, 36], [-15, 35], [0, 35], [15, 35], [30, 36], [49, 36], [30, 57], [15, 69], [0, 73], [-15, 69],
    [-30, 57], [-40, 39], [-21, 43], [0, 44], [21, 43], [40, 39], [21, 56], [0, 61], [-21, 56],
    [-63, -43], [63, -43],
])  # fmt: skip
_MAX_ROUNDS = 8


def number_landmarks(points: np.ndarray) -> np.ndarray:
    """Return a face [70, 3] with n < 70 ordered landmarks [n, 3] in their rows, zeros elsewhere.

    The rows are those for which an average face, translated, rotated and scaled, fits the points best; fitting and
    numbering alternate until the error stops falling. Positions and confidences are unchanged.
    """
    rows = np.arange(len(points))
    if len(points) > 2:
        positions = points[:, 0] + 1j * points[:, 1].astype(np.float64)
        evenly_spaced = np.round(np.linspace(0, LANDMARKS - 1, len(points))).astype(int)
        guesses = (evenly_spaced, rows, rows + LANDMARKS - len(points))
        _, rows = min((_assign_rows(positions, guess) for guess in guesses), key=lambda tried: tried[0])
    face = np.zeros((LANDMARKS, 3), np.float32)
    face[rows] = points
    return face


def _assign_rows(positions: np.ndarray, rows: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the remaining squared distance and the rows, from a first guess. positions: complex [n]."""
    average, left = _AVERAGE_FACE[:, 0] + 1j * _AVERAGE_FACE[:, 1], np.inf
    for _ in range(_MAX_ROUNDS):
        shown, middle = average[rows] - average[rows].mean(), positions.mean()
        turn = (np.conj(shown) * (positions - middle)).sum() / (np.abs(shown) ** 2).sum()
        moved = middle + turn * (average - average[rows].mean())
        cost = np.abs(positions[:, None] - moved) ** 2
        rows = _cheapest_in_order(cost)
        before, left = left, float(cost[np.arange(len(rows)), rows].sum())
        if left >= before:
            break
    return left, rows


def _cheapest_in_order(cost: np.ndarray) -> np.ndarray:
    """Return increasing columns, one for each row of `cost` [n, m], with the least sum (dynamic programming)."""
    count, columns = cost.shape
    best = np.full((count + 1, columns + 1), np.inf)
    best[0] = 0
    for i in range(count):
        best[i + 1, 1:] = np.minimum.accumulate(best[i, :-1] + cost[i])
    chosen, end = np.zeros(count, int), columns
    for i in reversed(range(count)):
        end = chosen[i] = int((best[i, :end] + cost[i, :end]).argmin())
    return chosen
