"""Node that samples the faces of a video again."""

from __future__ import annotations

from ..magicdance_core.choices import FACE_PASS_STRENGTH
from .comfy import memory, progress
from .link_types import MODEL_TYPE
from .sampling_inputs import sampling_sockets, sampling_widgets, to_run
from .socket_values import on_white, to_pictures
from .widgets import number, socket


class MagicDanceRefineFaces:
    """Sample the faces of a video again, enlarged."""

    SEARCH_ALIASES = ["magicdance", "face detailer", "face fix", "refine faces", "restore face", "face pass"]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Samples the faces of a video again, enlarged to the model's size, and blends them back. The keypoints say "
        "where they are, and pose maps are drawn from them anew; the crops move steadily and share the frames' noise, "
        "so that faces do not flicker. Frames without a face stay as they are. For the frames of Sample Video Frames, "
        "or any others of the person with keypoints."
    )
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("frames",)
    OUTPUT_TOOLTIPS = ("The frames with refined faces.",)
    FUNCTION = "refine"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket(MODEL_TYPE, "The model that the frames were sampled with."),
                "frames": socket("IMAGE", "The frames of the video."),
                "keypoints": socket("POSE_KEYPOINT", "Keypoints of each frame, with faces: those of Draw Poses."),
                "reference": socket(
                    "IMAGE", "A picture of the person, in its full size: its face is cut out of the first of a batch."
                ),
                "reference_keypoints": socket("POSE_KEYPOINT", "Keypoints of the reference, from Extract Pose."),
                "strength": number(
                    FACE_PASS_STRENGTH,
                    0.05,
                    1.0,
                    "Part of the denoising that is done again. Less: nearer to the frames. 1: from noise.",
                ),
                **sampling_widgets(),
            },
            "optional": sampling_sockets(),
        }

    def refine(
        self,
        model,
        frames,
        keypoints,
        reference,
        reference_keypoints,
        strength,
        seed,
        reference_mask=None,
        **shared,
    ):
        import torch

        from ..magicdance_core.errors import InputError
        from ..magicdance_core.pose import frames_from_pose_keypoint
        from ..magicdance_core.pose.retarget import first_frame_with_people
        from ..magicdance_core.sampling import to_pil
        from ..magicdance_core.sampling.face_pass import face_settings, find_faces, refine_faces

        pictures, poses = to_pictures(frames, "frames"), frames_from_pose_keypoint(keypoints)
        if len(pictures) != len(poses):
            raise InputError(
                f"`frames` has {len(pictures)} pictures, `keypoints` has {len(poses)} frames: connect as many."
            )
        person = first_frame_with_people(frames_from_pose_keypoint(reference_keypoints))
        if reference_mask is not None:
            reference = on_white(reference, reference_mask)
        (picture,) = to_pil(to_pictures(reference, "reference")[:1])
        height, width = pictures.shape[2:]
        people = find_faces(poses, width, height, picture, person, model.defaults["sample_size"])
        model = memory.with_face_loras(model)
        components, settings, prompts = to_run(model, seed=seed, **shared)
        settings = face_settings(settings.resolve(model.defaults), strength)

        def refined():
            """Yield each person's pass, a list of frames a person."""
            made = list(pictures)
            for faces in people:
                parts = refine_faces(
                    components, settings, made, faces, generator=torch.Generator().manual_seed(seed),
                    placement=memory.placement(model), prompt_embeds=prompts["prompt_embeds"],
                    negative_prompt_embeds=prompts["negative_prompt_embeds"],
                )  # fmt: skip
                made = []
                for part in parts:
                    for frame in part.pictures:
                        made.append(frame)
                        yield frame

        with progress.interruptible(*components.networks().values()):
            every = list(progress.counted(refined(), len(people) * len(pictures)))
        return (memory.output(torch.stack(every[-len(pictures) :]).movedim(1, -1)),)
