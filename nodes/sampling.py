"""Node that samples the frames of a video."""

from .comfy import memory, messages, progress
from .link_types import MODEL_TYPE
from .pose_map_checks import check_pose_maps, size_remarks
from .sampling_inputs import context_remarks, control_remarks, sampling_sockets, sampling_widgets, to_run
from .scene import SceneInputs, scene_sockets
from .socket_values import stretch, to_pictures
from .widgets import socket


class MagicDanceSample:
    """Sample the frames of a video."""

    SEARCH_ALIASES = [
        "magicdance",
        "magicpose",
        "sampler",
        "animate",
        "photo to video",
        "pose transfer",
        "video",
        "dance",
    ]
    CATEGORY = "MagicDance"
    DESCRIPTION = (
        "Generates one frame for each pose map, showing the person in the reference. The frames have the size of the "
        "pose maps, rounded to multiples of 8 pixels; the reference keeps its aspect ratio and is resized to as many "
        "pixels."
    )
    RETURN_TYPES = ("IMAGE", "LATENT")
    RETURN_NAMES = ("frames", "latent")
    OUTPUT_TOOLTIPS = ("The frames of the video.", "The latents of the frames, for VAE Decode or another sampler.")
    FUNCTION = "sample"

    def __init__(self) -> None:
        self._remarks = messages.Remarks(type(self).__name__)

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": socket(MODEL_TYPE, "A model with an Appearance Control Model, a Pose ControlNet, or both."),
                "poses": socket(
                    "IMAGE",
                    "Pose maps, one for each frame: OpenPose drawings of body, hands and face.",
                    display_name="pose maps",
                ),
                **sampling_widgets(),
            },
            "optional": {
                "reference": socket("IMAGE", "A picture of the person; several pictures in a batch add up."),
                **sampling_sockets(),
                **scene_sockets(),
            },
        }

    def sample(
        self,
        model,
        poses,
        seed,
        reference=None,
        reference_mask=None,
        regions=(),
        background=None,
        background_mask=None,
        **shared,
    ):
        import torch

        from ..magicdance_core.models import vae_scale_factor
        from ..magicdance_core.puppets.domain_check import domain_warnings
        from ..magicdance_core.sampling import prepare, run

        sentences = control_remarks(model, reference is not None or bool(regions))
        components, settings, prompts = to_run(model, seed=seed, **shared)
        poses, factor = to_pictures(poses, "poses"), vae_scale_factor(components.vae)
        height, width = (max(factor, round(side / factor) * factor) for side in poses.shape[2:])
        scene = SceneInputs(
            reference, reference_mask, regions, background, background_mask, (height, width), factor
        )  # fmt: skip
        poses = stretch(poses, width, height)
        if model.pose is not None:
            check_pose_maps(poses, "poses")
            sentences += size_remarks(poses, model.defaults["sample_size"])
            if model.puppets_only and scene.reference is not None:
                sentences += domain_warnings(scene.reference, poses)
        self._remarks.show(sentences + context_remarks(model, settings))
        settings, inputs = prepare(
            components,
            settings,
            scene.people(poses.split(1).__getitem__),
            poses,
            count := len(poses),
            generator=torch.Generator().manual_seed(seed),
            background=scene.background(),
            **prompts,
        )
        forecast = progress.Forecast(count, (width, height))

        def denoised(step) -> None:
            run_progress.denoised(step.fraction, step.numbers, step.denoised)
            if sentence := forecast.after(step.fraction):
                self._remarks.add(sentence)

        with (
            progress.interruptible(*components.networks().values()),
            progress.RunProgress(model, count, settings.steps) as run_progress,
        ):
            sample = run(
                components,
                settings,
                inputs,
                poses,
                placement=memory.placement(model),
                callback=denoised,
            )
            frames, done = torch.empty(count, height, width, 3), 0
            for part in sample.frames:
                frames[done : done + len(part)] = part.movedim(1, -1)
                run_progress.decoded(done, part)
                done += len(part)
        samples = memory.output(sample.latents.cpu() / components.vae.config.scaling_factor)
        return memory.output(frames), {"samples": samples}
