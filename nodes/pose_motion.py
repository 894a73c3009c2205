"""Poses: fit a motion to another body, and take its jitter away."""

from ..magicdance_core.choices import PLACES, SMOOTHING_METHODS


class MagicDanceRetargetPose:
    """Fit a motion to the person in the reference."""

    SEARCH_ALIASES = ["magicdance", "retarget", "align pose", "body proportions", "rescale skeleton", "pose alignment"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Fits a driving motion to the reference person: length of each limb, scale and place, head, face and hands, "
        "feet on the ground, shape of the canvas. Misaligned bodies are the main cause of broken limbs and faces."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The motion on the reference's canvas, for Draw Poses.",)
    FUNCTION = "retarget"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "The driving motion, one person in each frame."}),
                "reference": (
                    "POSE_KEYPOINT",
                    {"tooltip": "The pose of the person to fit to; of several frames the first that shows somebody."},
                ),
                "place": (
                    list(PLACES),
                    {
                        "default": PLACES[0],
                        "tooltip": "reference: the motion goes to where the reference stands. driving: it stays where "
                        "it is on the canvas. auto: driving if the reference stands within the motion, else reference.",
                    },
                ),
                "driving_frame": (
                    "INT",
                    {
                        "default": -1,
                        "min": -1,
                        "max": 999999,
                        "tooltip": "A driving frame in the reference's pose, to compare limbs with; -1 compares with "
                        "the whole motion.",
                    },
                ),
                "complete": (
                    "BOOLEAN",
                    {"default": True, "tooltip": "Take body parts that no driving frame shows from the reference."},
                ),
            }
        }

    def retarget(self, keypoints, reference, place, driving_frame, complete):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.retarget import first_frame_with_people, retarget

        frames, pose = (
            frames_from_pose_keypoint(keypoints),
            first_frame_with_people(frames_from_pose_keypoint(reference)),
        )
        like = None if driving_frame < 0 else driving_frame
        return (frames_to_pose_keypoint(retarget(frames, pose, like=like, place=place, complete=complete)),)


class MagicDanceSmoothPose:
    """Take the jitter out of keypoints."""

    SEARCH_ALIASES = ["magicdance", "smooth", "jitter", "flicker", "stabilize pose", "one euro", "savitzky golay"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Smooths each keypoint in time, weighted by its confidence; jittery poses make jittery videos. Savitzky-Golay "
        "looks both ways and does not lag, One-Euro looks back only."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The same people, smoother; missing points stay missing.",)
    FUNCTION = "smooth"

    @classmethod
    def INPUT_TYPES(cls):
        def number(default: float, low: float, high: float, tooltip: str) -> tuple:
            return ("FLOAT", {"default": default, "min": low, "max": high, "step": 0.1, "tooltip": tooltip})

        return {
            "required": {
                "keypoints": ("POSE_KEYPOINT", {"tooltip": "People of each frame."}),
                "method": (
                    list(SMOOTHING_METHODS),
                    {"default": SMOOTHING_METHODS[0], "tooltip": "savitzky-golay: no lag. one-euro: causal."},
                ),
                "window": (
                    "INT",
                    {
                        "default": 7,
                        "min": 3,
                        "max": 61,
                        "step": 2,
                        "tooltip": "Savitzky-Golay: odd number of frames that a parabola is fitted to; more is "
                        "smoother, less keeps faster gestures.",
                    },
                ),
                "min_cutoff": number(1.5, 0.1, 30.0, "One-Euro: Hz for a point at rest; less is smoother."),
                "beta": number(30.0, 0.0, 1000.0, "One-Euro: Hz more for each body size a second; more lags less."),
                "fps": number(30.0, 1.0, 240.0, "One-Euro: frames a second of the keypoints."),
            }
        }

    def smooth(self, keypoints, method, window, min_cutoff, beta, fps):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.smooth import smooth

        frames = frames_from_pose_keypoint(keypoints)
        made = smooth(frames, method, fps=fps, window=window, min_cutoff=min_cutoff, beta=beta)
        return (frames_to_pose_keypoint(made),)
