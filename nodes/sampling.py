"""Node that samples the frames of a video."""

from .comfy import memory, messages, progress
from .link_types import MODEL_TYPE, REGIONS_TYPE
from .pose_map_checks import check_pose_maps, size_remarks
from .sampling_inputs import context_remarks, control_remarks, sampling_sockets, sampling_widgets, to_reference, to_run
from .scene import to_background, to_regions
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
                "regions": socket(REGIONS_TYPE, "References of more people, from Add Region."),
                "background": socket(
                    "IMAGE", "What the frames show outside of background_mask: one picture, or a video."
                ),
                "background_mask": socket("MASK", "Where frames are sampled, from Person Mask."),
            },
        }

    def sample(
        self,
        model,
        poses,
        seed,
        steps,
        cfg,
        sampler_name,
        control_mode,
        preset,
        frames_per_batch,
        decode_chunk_size,
        reference=None,
        positive=None,
        negative=None,
        context_options=None,
        speed_options=None,
        reference_mask=None,
        regions=(),
        background=None,
        background_mask=None,
    ):
        import torch

        from ..magicdance_core.models import vae_scale_factor
        from ..magicdance_core.puppets.domain_check import domain_warnings
        from ..magicdance_core.sampling import prepare, run

        sentences = control_remarks(model, regions[0].reference if regions and reference is None else reference)
        components, settings, prompts = to_run(
            model,
            seed=seed,
            steps=steps,
            cfg=cfg,
            sampler_name=sampler_name,
            control_mode=control_mode,
            preset=preset,
            frames_per_batch=frames_per_batch,
            decode_chunk_size=decode_chunk_size,
            positive=positive,
            negative=negative,
            context_options=context_options,
            speed_options=speed_options,
        )
        poses, factor = to_pictures(poses, "poses"), vae_scale_factor(components.vae)
        height, width = (max(factor, round(side / factor) * factor) for side in poses.shape[2:])
        if reference is not None:
            reference = to_reference(reference, reference_mask, width * height, factor)
        poses = stretch(poses, width, height)
        if model.pose is not None:
            check_pose_maps(poses, "poses")
            sentences += size_remarks(poses, model.defaults["sample_size"])
            sentences += domain_warnings(reference, poses) if model.puppets_only and reference is not None else []
        self._remarks.show(sentences + context_remarks(model, settings))
        shown = to_regions(reference, regions, (height, width), factor) if regions else reference
        settings, inputs = prepare(
            components,
            settings,
            shown,
            poses,
            count := len(poses),
            generator=torch.Generator().manual_seed(seed),
            background=to_background(background, background_mask, (height, width)),
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
