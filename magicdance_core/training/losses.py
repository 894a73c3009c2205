"""The objectives: a picture reconstructed, a noise (or velocity) predicted; one loss a picture."""

from functools import partial

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from ..models import Networks, PoseResiduals, predict, read_pose, read_reference
from ..sampling.guidance import guide
from .rollout import Rollout

KL_WEIGHT = 5e-5
STILL = 0.01
"""Mean squared change of a latent from frame to frame that is half still; a latent's variance is 1."""


def autoencoder_loss(vae: AutoencoderKL, images: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
    """Reconstruction (L1 + L2, mean over pixels) plus a small KL term, `[B]`.

    images: `[B, 3, H, W]` in [-1, 1]. weights: `[B, 1, H, W]`. noise: of the posterior,
    standard normal, `[B, 4, h, w]`.
    """
    posterior = vae.encode(images).latent_dist
    error = vae.decode(posterior.mean + posterior.std * noise).sample.float() - images
    reconstruction = ((error.abs() + error.square()) * weights).mean((1, 2, 3))
    return reconstruction + KL_WEIGHT * posterior.kl() / posterior.mean[0].numel()


def diffusion_loss(
    networks: Networks,
    scheduler: DDIMScheduler,
    reference: Tensor,
    target: Tensor,
    pose: Tensor,
    context: Tensor,
    timesteps: Tensor,
    noise: Tensor,
    weights: Tensor | None = None,
    keep_reference: Tensor | None = None,
    keep_pose: Tensor | None = None,
    min_snr: float = 0.0,
    change_weight: float = 0.0,
    still_weight: float = 0.0,
    rollout: Rollout | None = None,
) -> Tensor:
    """Mean squared error of the prediction for each noised target (paper equations 2 and 3), `[R * n]`.

    reference: clean latents `[R, 4, h, w]`. target: `[R * n, 4, h, w]`, n frames of each reference's person in
    a row. timesteps: int64 `[R]`, one a person, for the bank depends on it. pose: `[R * n, 3, H, W]` in [0, 1].
    context: `[1 or R, tokens, C]`. noise: standard normal, like target. weights: `[R * n, 1, h, w]`.
    keep_reference, keep_pose: bool `[R]`, who is shown with the control; the others exactly as without it. A control
    that `networks` lacks is shown to nobody.
    min_snr: gamma of min-SNR weighting (Hang et al., arXiv 2303.09556), 0 for none.
    change_weight: of the mean squared error of the change from frame to frame, which is added.
    still_weight: of the root mean squared error of that change where `target` stands still, which is added, too.
    rollout: the networks see what sampling has made of `noise` by then instead of the noised target; the error is
    that of the guided prediction, times the standard deviation of the noise (for velocity: of the clean latents).
    A motion module sees the n frames of a person as a clip.
    """
    people = torch.arange(len(reference), device=reference.device)
    scale = 1.0 if rollout is None else rollout.guidance_scale
    predicted = partial(_predict_people, networks, reference, pose, context, keep_reference, keep_pose, scale)
    of_frames = timesteps.repeat_interleave(len(target) // len(reference))
    if rollout is not None:
        seen = rollout.latents(predicted, noise, timesteps)
        noise = rollout.noise_between(target, seen, of_frames)
    noisy = scheduler.add_noise(target, noise, of_frames)
    prediction = predicted(people, noisy, timesteps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    wanted = scheduler.get_velocity(target, noise, of_frames) if velocity else noise
    errors = prediction.float() - wanted
    if rollout is not None:
        errors = errors * rollout.deviation(of_frames)
    squared = errors.square()
    losses = (squared if weights is None else squared * weights).mean((1, 2, 3))
    if change_weight or still_weight:
        changes = _change_losses(errors, target, len(reference), change_weight, still_weight)
        losses = losses + changes.repeat_interleave(len(target) // len(reference))
    if not min_snr:
        return losses
    snr = compute_snr(scheduler, of_frames)
    return losses * snr.clamp(max=min_snr) / (snr + 1 if velocity else snr)


def _change_losses(errors: Tensor, target: Tensor, clips: int, change_weight: float, still_weight: float) -> Tensor:
    """What the change of the errors from frame to frame costs, `[clips]`."""
    changes, moves = (x.unflatten(0, (clips, -1)).diff(dim=1).square() for x in (errors, target))
    # Halved, for errors without a relation between frames to weigh as much as in the frames themselves.
    losses = change_weight * changes.mean((1, 2, 3, 4)) / 2
    if not still_weight:
        return losses
    still = STILL / (STILL + moves.mean(2, keepdim=True))
    squared = (changes * still).mean((1, 2, 3, 4)) / still.mean((1, 2, 3, 4))
    # A root, for little flicker is seen on what stands still; its slope stays finite at 0.
    return losses + still_weight * ((squared + 1e-8).sqrt() - 1e-4)


def _predict_people(
    networks: Networks,
    reference: Tensor,
    pose: Tensor,
    context: Tensor,
    keep_reference: Tensor | None,
    keep_pose: Tensor | None,
    guidance_scale: float,
    people: Tensor,
    noisy: Tensor,
    timesteps: Tensor,
) -> Tensor:
    """The guided prediction for some people: their noisy latents `[P * n, 4, h, w]` and timesteps `[P]`; the rest is of
    all, as `diffusion_loss` has it."""
    per_person = len(noisy) // len(people)
    of_frames = timesteps.repeat_interleave(per_person)
    reference, pose = reference[people], pose.unflatten(0, (len(reference), -1))[people].flatten(0, 1)
    context = context if len(context) == 1 else context[people]
    keep_reference, keep_pose = (None if keep is None else keep[people] for keep in (keep_reference, keep_pose))
    heard = context if len(context) == 1 else context.repeat_interleave(per_person, 0)
    residuals = read_pose(networks, noisy, of_frames, heard, pose)
    if residuals is not None and keep_pose is not None and not keep_pose.all():
        residuals = _silenced(residuals, keep_pose.repeat_interleave(per_person))
    prediction = _predict(networks, noisy, of_frames, context, reference, timesteps, residuals, keep_reference)
    if guidance_scale == 1:
        return prediction
    return guide(prediction, predict(networks, noisy, of_frames, heard), guidance_scale)


def _predict(
    networks: Networks,
    noisy: Tensor,
    of_frames: Tensor,
    context: Tensor,
    reference: Tensor,
    timesteps: Tensor,
    residuals: PoseResiduals | None,
    keep: Tensor | None,
) -> Tensor:
    """Rows with and without the reference go through the UNet apart, so that no mask slows attention down."""
    per_person = len(noisy) // len(reference)

    def of(people: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The context of some people, and of their rows."""
        return (context, context) if len(context) == 1 else (context[people], context[rows // per_person])

    everybody, everything = (torch.arange(len(x), device=x.device) for x in (reference, noisy))
    if networks.appearance is None or keep is None or keep.all():
        read, heard = of(everybody, everything)
        source = read_reference(networks, reference, timesteps, read)
        return predict(networks, noisy, of_frames, heard, source, residuals, 1.0, per_person)
    prediction = torch.empty_like(noisy)
    for kept in (True, False):
        people = (keep == kept).nonzero()[:, 0]
        if not len(people):
            continue
        rows = (people[:, None] * per_person + torch.arange(per_person, device=people.device)).flatten()
        read, heard = of(people, rows)
        source = read_reference(networks, reference[people], timesteps[people], read) if kept else None
        own = None if residuals is None else PoseResiduals(tuple(d[rows] for d in residuals.down), residuals.mid[rows])
        part = predict(networks, noisy[rows], of_frames[rows], heard, source, own, 1.0, per_person)
        prediction = prediction.index_copy(0, rows, part.to(prediction))
    return prediction


def _silenced(residuals: PoseResiduals, keep: Tensor) -> PoseResiduals:
    def silent(x: Tensor) -> Tensor:
        return x * keep.to(x)[:, None, None, None]

    return PoseResiduals(tuple(map(silent, residuals.down)), silent(residuals.mid))
