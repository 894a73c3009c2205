"""Node that draws puppets, an input that needs no file."""

from .comfy import progress
from .socket_values import to_image
from .widgets import integer, seed

CHOREOGRAPHY_FPS = 30
SECONDS = 10  # the first frame and the reference's pose are drawn from this long a part of a choreography
SIZE_TOOLTIP = "{} of all pictures in pixels: 128 for the embedded model, 512 for others."


class MagicDancePuppets:
    """Draw a person in a reference picture and in a dance."""

    SEARCH_ALIASES = ["magicdance", "puppet", "demo", "test", "source", "drawn person", "dance"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Draws a person and a dance, so that a first workflow needs no file: a reference picture, pose maps, "
        "keypoints, and the true frames to compare the result with."
    )
    RETURN_TYPES = ("IMAGE", "IMAGE", "POSE_KEYPOINT", "IMAGE", "POSE_KEYPOINT")
    RETURN_NAMES = ("reference", "poses", "keypoints", "truth", "reference_keypoints")
    OUTPUT_TOOLTIPS = (
        "The person in a pose of another dance, for Sample Video Frames.",
        "Pose maps of the dance, for Sample Video Frames.",
        "Keypoints of the dance, for Draw Poses.",
        "The person in the dance: what a perfect model would generate from reference and poses.",
        "Keypoints of the reference, for Refine Faces or Retarget Pose.",
    )
    FUNCTION = "draw"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "identity": integer(0, 0, 999999, "Which person: face, hair, clothes and background."),
                "choreography": integer(0, 0, 999999, "Which dance."),
                "frames": integer(
                    16, 1, 4096, "Number of frames, at 15 frames per second.", display_name="number of frames"
                ),
                "seed": seed("Where in the dance the frames begin, and the pose of the reference picture."),
                "width": integer(128, 64, 2048, SIZE_TOOLTIP.format("Width"), step=64),
                "height": integer(128, 64, 2048, SIZE_TOOLTIP.format("Height"), step=64),
            }
        }

    def draw(self, identity, choreography, frames, seed, width, height):
        from ..magicdance_core.pose import draw_pose, frames_to_pose_keypoint
        from ..magicdance_core.puppets import Choreography, Identity, draw_puppet, puppet_keypoints
        from ..magicdance_core.puppets.random_stream import RandomStream

        person = Identity.from_seed(identity, "test")  # the embedded model was not trained on the "test" identities
        dance, other_dance = (Choreography.from_seed(2 * choreography + k, "test") for k in range(2))
        rng = RandomStream("puppets node", "test", seed)
        begin, moment = (int(rng.uniform(0, SECONDS * CHOREOGRAPHY_FPS)) for _ in range(2))
        keypoints, poses, truth = [], [], []
        for frame in progress.counted(range(frames)):
            body = dance.pose(begin + 2 * frame)
            keypoints.append(puppet_keypoints(person, body, width, height))
            poses.append(draw_pose(keypoints[-1]))
            truth.append(draw_puppet(person, body, width, height))
        start = other_dance.pose(moment)
        return (
            to_image([draw_puppet(person, start, width, height)]),
            to_image(poses),
            frames_to_pose_keypoint(keypoints),
            to_image(truth),
            frames_to_pose_keypoint([puppet_keypoints(person, start, width, height)]),
        )
