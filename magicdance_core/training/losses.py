"""The objectives: a picture reconstructed, a noise (or velocity) predicted; one loss a picture."""

from dataclasses import dataclass
from functools import partial

import torch
from diffusers import AutoencoderKL, DDIMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from ..evaluation.metrics import MOVING_IN_DRAWING, STILL_IN_DRAWING
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


def decoding_loss(decoded: Tensor, truth: Tensor, weights: Tensor, change_weight: float, still_weight: float) -> Tensor:
    """Mean absolute error of decoded clips, plus that of the change from frame to frame, `[R]`.

    decoded, truth: `[R, n, 3, H, W]` in [-1, 1]. weights: `[R, n, 1, H, W]`, of the frames' error. change_weight: of
    the change's error where the truth moves; still_weight: where it stands still.
    """
    error, moves = decoded - truth, truth.diff(dim=1).abs().amax(2, keepdim=True) / 2  # of [0, 1], as thresholds are
    changes = error.diff(dim=1).abs()
    losses = (error.abs() * weights).mean((1, 2, 3, 4))
    for weight, where in ((change_weight, moves > MOVING_IN_DRAWING), (still_weight, moves < STILL_IN_DRAWING)):
        of_place = (changes * where).mean((1, 2, 3, 4)) / where.float().mean((1, 2, 3, 4)).clamp_min(1e-3)
        losses = losses + weight * of_place
    return losses


@dataclass(frozen=True)
class Shown:
    """What R people are shown, as `diffusion_loss` takes it; poses as clips `[R, n, 3, H, W]`, n `frames` of each."""

    reference: Tensor
    pose: Tensor
    context: Tensor
    keep_reference: Tensor | None
    keep_pose: Tensor | None

    @property
    def frames(self) -> int:
        return self.pose.shape[1]

    @property
    def heard(self) -> Tensor:
        """The context of each frame, `[1 or R * n, tokens, C]`."""
        return self.context if len(self.context) == 1 else self.context.repeat_interleave(self.frames, 0)

    def of(self, people: Tensor) -> "Shown":
        """The same for some of them, indices `[P]`."""
        context = self.context if len(self.context) == 1 else self.context[people]
        keeps = (None if keep is None else keep[people] for keep in (self.keep_reference, self.keep_pose))
        return Shown(self.reference[people], self.pose[people], context, *keeps)


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
    shown = Shown(reference, pose.unflatten(0, (len(reference), -1)), context, keep_reference, keep_pose)
    predicted = partial(guided, networks, shown, 1.0 if rollout is None else rollout.guidance_scale)
    of_frames = timesteps.repeat_interleave(shown.frames)
    if rollout is not None:
        seen = rollout.latents(predicted, noise, timesteps)
        noise = rollout.noise_between(target, seen, of_frames)
    noisy = scheduler.add_noise(target, noise, of_frames)
    prediction = predicted(torch.arange(len(reference), device=reference.device), noisy, timesteps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    wanted = scheduler.get_velocity(target, noise, of_frames) if velocity else noise
    errors = prediction.float() - wanted
    if rollout is not None:
        errors = errors * rollout.deviation(of_frames)
    squared = errors.square()
    losses = (squared if weights is None else squared * weights).mean((1, 2, 3))
    if change_weight or still_weight:
        changes = _change_losses(errors, target, len(reference), change_weight, still_weight)
        losses = losses + changes.repeat_interleave(shown.frames)
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


def guided(networks: Networks, shown: Shown, scale: float, people: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """The prediction for some people (indices `[P]`), led away from the UNet alone; noisy: `[P * n, 4, h, w]`."""
    shown = shown.of(people)
    prediction = _controlled(networks, shown, noisy, timesteps)
    if scale == 1:
        return prediction
    plain = predict(networks, noisy, timesteps.repeat_interleave(shown.frames), shown.heard)
    return guide(prediction, plain, scale)


def _controlled(networks: Networks, shown: Shown, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """The prediction for all that are shown something, `[R * n, 4, h, w]`."""
    frames, keep = shown.frames, shown.keep_reference
    of_frames = timesteps.repeat_interleave(frames)
    residuals = read_pose(networks, noisy, of_frames, shown.heard, shown.pose.flatten(0, 1))
    if residuals is not None and shown.keep_pose is not None and not shown.keep_pose.all():
        residuals = _silenced(residuals, shown.keep_pose.repeat_interleave(frames))
    if networks.appearance is None or keep is None or keep.all():
        source = read_reference(networks, shown.reference, timesteps, shown.context)
        return predict(networks, noisy, of_frames, shown.heard, source, residuals, 1.0, frames)
    # Rows with and without the reference go through the UNet apart, so that no mask slows attention down.
    prediction = torch.empty_like(noisy)
    for kept in (True, False):
        people = (keep == kept).nonzero()[:, 0]
        if not len(people):
            continue
        rows = (keep == kept).repeat_interleave(frames).nonzero()[:, 0]
        some = shown.of(people)
        source = read_reference(networks, some.reference, timesteps[people], some.context) if kept else None
        own = None if residuals is None else PoseResiduals(tuple(d[rows] for d in residuals.down), residuals.mid[rows])
        part = predict(networks, noisy[rows], of_frames[rows], some.heard, source, own, 1.0, frames)
        prediction = prediction.index_copy(0, rows, part.to(prediction))
    return prediction


def _silenced(residuals: PoseResiduals, keep: Tensor) -> PoseResiduals:
    def silent(x: Tensor) -> Tensor:
        return x * keep.to(x)[:, None, None, None]

    return PoseResiduals(tuple(map(silent, residuals.down)), silent(residuals.mid))
