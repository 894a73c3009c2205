"""Nodes that change keypoints or draw them: retargeting, smoothing, pose maps and previews."""

from itertools import chain, repeat

from ..magicdance_core.choices import POSITIONS, SMOOTHING_METHODS
from .comfy import progress
from .socket_values import to_arrays, to_image, video_pictures
from .widgets import choice, drawn_parts, integer, number, socket, toggle, video_fps

KEYPOINTS_TOOLTIP = "The people of each frame."
NOTHING_HARD = "Nothing stands out: the reference and the motion fit each other."


class MagicDanceRetargetPose:
    """Fit a motion to the person in the reference."""

    SEARCH_ALIASES = ["magicdance", "retarget", "align pose", "body proportions", "rescale skeleton", "pose alignment"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Fits a driving motion to the person in the reference: limb lengths, scale and position, head, face and hands, "
        "feet on the ground, and the size of the canvas. Misaligned bodies are the main cause of broken limbs and "
        "faces."
    )
    RETURN_TYPES = ("POSE_KEYPOINT", "STRING")
    RETURN_NAMES = ("keypoints", "report")
    OUTPUT_TOOLTIPS = (
        "The motion on the reference's canvas, for Draw Poses.",
        "What will be hard in this run, before it is sampled: what the reference does not show, other proportions, "
        "motion out of the picture, long gaps; each with a remedy. For Preview Any.",
    )
    FUNCTION = "retarget"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", "The driving motion, one person in each frame."),
                "reference": socket(
                    "POSE_KEYPOINT",
                    "Keypoints of the person to fit to. Of several frames, the first with a person is used.",
                    display_name="reference keypoints",
                ),
                "position": choice(
                    POSITIONS,
                    "Where the person moves. reference: around the reference's position. driving: as in the driving "
                    "motion. auto: driving if the reference stands within the area of the motion, else reference. "
                    "in place: on the driving canvas, where and as large as the driving person.",
                ),
                "driving_frame": integer(
                    -1,
                    -1,
                    999999,
                    "A driving frame in the same pose as the reference, to compare limb lengths with. -1: compare "
                    "with the whole motion.",
                    advanced=True,
                ),
                "fill_missing": toggle(
                    True, "Take body parts that no driving frame shows from the reference.", advanced=True
                ),
                "fps": number(
                    30.0,
                    1.0,
                    240.0,
                    "Frames per second of the keypoints, for the times in the report. Connect Extract Pose's.",
                    1.0,
                    advanced=True,
                ),
            }
        }

    def retarget(self, keypoints, reference, position, driving_frame, fill_missing, fps):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.look_ahead import look_ahead
        from ..magicdance_core.pose.retarget import first_frame_with_people, retarget

        frames = frames_from_pose_keypoint(keypoints)
        pose = first_frame_with_people(frames_from_pose_keypoint(reference))
        like = None if driving_frame < 0 else driving_frame
        fitted = retarget(frames, pose, like=like, position=position, fill_missing=fill_missing)
        findings = look_ahead(pose, frames, fitted, fps).findings
        report = "\n".join(f"- {finding}" for finding in findings) or NOTHING_HARD
        return frames_to_pose_keypoint(fitted), report


class MagicDanceSmoothPose:
    """Remove the jitter of keypoints."""

    SEARCH_ALIASES = ["magicdance", "smooth", "jitter", "flicker", "stabilize pose", "one euro", "savitzky golay"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Smooths each keypoint over time, weighted by its confidence; jittery poses make jittery videos. "
        "Savitzky-Golay uses past and future frames and does not lag; One-Euro uses past frames only."
    )
    RETURN_TYPES = ("POSE_KEYPOINT",)
    RETURN_NAMES = ("keypoints",)
    OUTPUT_TOOLTIPS = ("The same people, smoothed. Missing keypoints stay missing.",)
    FUNCTION = "smooth"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", KEYPOINTS_TOOLTIP),
                "method": choice(SMOOTHING_METHODS, "savitzky-golay: no lag. one-euro: causal."),
                "window_length": integer(
                    7,
                    3,
                    61,
                    "Savitzky-Golay: odd number of frames that a parabola is fitted to. Larger: smoother. Smaller: "
                    "keeps faster gestures.",
                    step=2,
                ),
                "min_cutoff": number(
                    1.5,
                    0.1,
                    30.0,
                    "One-Euro: cutoff frequency in Hz of a keypoint at rest. Smaller: smoother.",
                    0.1,
                    advanced=True,
                ),
                "beta": number(
                    30.0,
                    0.0,
                    1000.0,
                    "One-Euro: how much the cutoff frequency grows with speed, in Hz per body size per second. "
                    "Larger: less lag.",
                    0.1,
                    advanced=True,
                ),
                "fps": number(30.0, 1.0, 240.0, "One-Euro: frames per second of the keypoints.", 0.1),
            }
        }

    def smooth(self, keypoints, method, window_length, min_cutoff, beta, fps):
        from ..magicdance_core.pose import frames_from_pose_keypoint, frames_to_pose_keypoint
        from ..magicdance_core.pose.smooth import smooth

        frames = frames_from_pose_keypoint(keypoints)
        smoothed = smooth(frames, method, fps=fps, window=window_length, min_cutoff=min_cutoff, beta=beta)
        return (frames_to_pose_keypoint(smoothed),)


class MagicDanceDrawPoses:
    """Draw pose maps of keypoints."""

    SEARCH_ALIASES = ["magicdance", "openpose", "draw keypoints", "render pose", "pose map", "pose video"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Draws pose maps of keypoints, pixel for pixel as in the training data of the Pose ControlNet. Takes "
        "POSE_KEYPOINT of Draw Puppets, of DWPose and OpenPose preprocessors, and of ComfyUI's own pose nodes."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("poses",)
    OUTPUT_TOOLTIPS = ("One pose map for each frame, for Sample Video Frames.",)
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "{} of the pose maps in pixels. 0: that of the keypoints' canvas."
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", "The people of each frame, in pixels or fractions of the canvas."),
                "width": integer(0, 0, 8192, tooltip.format("Width"), step=8),
                "height": integer(0, 0, 8192, tooltip.format("Height"), step=8),
                **drawn_parts(),
            }
        }

    def draw(self, keypoints, width, height, draw_body, draw_hands, draw_face):
        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import draw_pose

        frames = _frames(keypoints)
        sizes = list(dict.fromkeys((width or frame.width, height or frame.height) for frame in frames))
        if len(sizes) > 1:
            (w0, h0), (w1, h1) = sizes[:2]
            raise InputError(
                f"`keypoints` has canvases of {w0} x {h0} and {w1} x {h1} pixels: set `width` and `height`."
            )
        parts = {"body": draw_body, "hands": draw_hands, "face": draw_face}
        return (to_image([draw_pose(frame, *sizes[0], **parts) for frame in progress.counted(frames)]),)


class MagicDancePreviewPose:
    """Draw skeletons over the pictures that they were detected in."""

    SEARCH_ALIASES = ["magicdance", "overlay", "preview skeleton", "check pose", "skeleton over image"]
    CATEGORY = "MagicDance/pose"
    DESCRIPTION = (
        "Draws each frame's skeleton over its picture, to check whether the poses fit: over pictures, or over the "
        "video of Extract Pose. A single picture is used for all frames, for instance the reference after Retarget "
        "Pose. Without pictures, the background is black."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("preview",)
    OUTPUT_TOOLTIPS = ("Pictures with skeletons, for Preview Image or a video.",)
    FUNCTION = "preview"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "keypoints": socket("POSE_KEYPOINT", KEYPOINTS_TOOLTIP),
                "opacity": number(0.8, 0.0, 1.0, "Opacity of the skeletons."),
                **drawn_parts(),
                "fps": video_fps(),
            },
            "optional": {
                "images": socket("IMAGE", "One picture for each frame, or one for all."),
                "video": socket("VIDEO", "The video connected to Extract Pose, with the same fps."),
            },
        }

    def preview(self, keypoints, opacity, draw_body, draw_hands, draw_face, fps, images=None, video=None):
        import numpy as np

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose.draw import overlay

        frames = _frames(keypoints)
        parts = {"body": draw_body, "hands": draw_hands, "face": draw_face}
        if images is not None and video is not None:
            raise InputError("Preview Pose has both `images` and `video` connected: disconnect one of them.")

        def drawn_over(pictures) -> list:
            """Return each frame over its picture; over the one before if its own is missing or cannot be decoded."""
            made, last = [], np.zeros((frames[0].height, frames[0].width, 3), np.uint8)
            for frame, picture in zip(progress.counted(frames), chain(pictures, repeat(None))):
                last = last if picture is None else picture
                made.append(overlay(last, frame, opacity, **parts))
            return made

        if video is not None:
            with video_pictures(video, fps) as pictures:
                return (to_image(drawn_over(pictures)),)
        if images is not None and len(images) not in (1, len(frames)):
            raise InputError(
                f"`images` has {len(images)} pictures, `keypoints` has {len(frames)} frames: connect as many pictures "
                "as frames, or one."
            )
        return (to_image(drawn_over(() if images is None else to_arrays(images, "images"))),)


def _frames(keypoints) -> list:
    """Return the pose frames of a POSE_KEYPOINT. Raises InputError if there is none."""
    from ..magicdance_core.errors import InputError
    from ..magicdance_core.pose import frames_from_pose_keypoint

    frames = frames_from_pose_keypoint(keypoints)
    if not frames:
        raise InputError("`keypoints` has no frames: connect keypoints of at least one frame.")
    return frames
