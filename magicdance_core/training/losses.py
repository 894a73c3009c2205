"""Losses of the autoencoder, of diffusion and of decoded clips."""

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
HALF_STILL = 0.01
"""Mean squared change of a latent between frames that counts half as still; the variance of a latent is 1."""


def autoencoder_loss(vae: AutoencoderKL, images: Tensor, weights: Tensor, noise: Tensor) -> Tensor:
    """Return the reconstruction error (L1 + L2, mean over pixels) plus a small KL term, `[B]`.

    images: `[B, 3, H, W]` in [-1, 1]. weights: `[B, 1, H, W]`. noise: standard normal, `[B, 4, h, w]`; the posterior is
    sampled with it.
    """
    posterior = vae.encode(images).latent_dist
    error = vae.decode(posterior.mean + posterior.std * noise).sample.float() - images
    reconstruction = ((error.abs() + error.square()) * weights).mean((1, 2, 3))
    return reconstruction + KL_WEIGHT * posterior.kl() / posterior.mean[0].numel()


def decoding_loss(decoded: Tensor, truth: Tensor, weights: Tensor, change_weight: float, still_weight: float) -> Tensor:
    """Return the mean absolute error of decoded clips, plus that of the change between frames, `[R]`.

    decoded, truth: `[R, n, 3, H, W]` in [-1, 1]. weights: of the error of frames, `[R, n, 1, H, W]`. change_weight: of
    the error of the change where the truth moves. still_weight: of that error where the truth stands still.
    """
    error, moves = decoded - truth, truth.diff(dim=1).abs().amax(2, keepdim=True) / 2  # in [0, 1], like the thresholds
    changes = error.diff(dim=1).abs()
    losses = (error.abs() * weights).mean((1, 2, 3, 4))
    for weight, where in ((change_weight, moves > MOVING_IN_DRAWING), (still_weight, moves < STILL_IN_DRAWING)):
        of_place = (changes * where).mean((1, 2, 3, 4)) / where.float().mean((1, 2, 3, 4)).clamp_min(1e-3)
        losses = losses + weight * of_place
    return losses


@dataclass(frozen=True)
class Conditioning:
    """The conditioning of R people with n frames each.

    reference: clean latents `[R, 4, h, w]`. pose: `[R, n, 3, H, W]` in [0, 1]. context: `[1 or R, tokens, C]`.
    keep_reference, keep_pose: bool `[R]`; people for whom they are false get a prediction without that control. None
    keeps it for all.
    """

    reference: Tensor
    pose: Tensor
    context: Tensor
    keep_reference: Tensor | None
    keep_pose: Tensor | None

    @property
    def frames(self) -> int:
        """Number of frames of a person, n."""
        return self.pose.shape[1]

    @property
    def frame_context(self) -> Tensor:
        """The context of each frame, `[1 or R * n, tokens, C]`."""
        return self.context if len(self.context) == 1 else self.context.repeat_interleave(self.frames, 0)

    def select(self, people: Tensor) -> "Conditioning":
        """Return the conditioning of some people, given by indices `[P]`."""
        context = self.context if len(self.context) == 1 else self.context[people]
        keeps = (None if keep is None else keep[people] for keep in (self.keep_reference, self.keep_pose))
        return Conditioning(self.reference[people], self.pose[people], context, *keeps)


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
    """Return the mean squared error of the prediction for each noised target (paper equations 2 and 3), `[R * n]`.

    reference: clean latents `[R, 4, h, w]`. target: `[R * n, 4, h, w]`, n consecutive rows for each of R people, which
    are a clip for a motion module. timesteps: int64 `[R]`, one per person, for the bank depends on it. pose:
    `[R * n, 3, H, W]` in [0, 1]. context: `[1 or R, tokens, C]`. noise: standard normal, like target. weights:
    `[R * n, 1, h, w]`.
    keep_reference, keep_pose: bool `[R]`; where false, the prediction is exactly that without the control.
    min_snr: gamma of min-SNR weighting (Hang et al., arXiv 2303.09556), 0 for none.
    change_weight: weight of the mean squared error of the change between frames.
    still_weight: weight of the root mean squared error of that change where `target` stands still.
    rollout: the input of the networks is sampled from `noise` instead of the noised target; the error is that of the
    guided prediction, times the standard deviation of the noise (for velocity: of the clean latents).
    """
    conditioning = Conditioning(reference, pose.unflatten(0, (len(reference), -1)), context, keep_reference, keep_pose)
    predicted = partial(guided_prediction, networks, conditioning, 1.0 if rollout is None else rollout.guidance_scale)
    frame_timesteps = timesteps.repeat_interleave(conditioning.frames)
    if rollout is not None:
        sampled = rollout.latents(predicted, noise, timesteps)
        noise = rollout.noise_between(target, sampled, frame_timesteps)
    noisy = scheduler.add_noise(target, noise, frame_timesteps)
    prediction = predicted(torch.arange(len(reference), device=reference.device), noisy, timesteps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    wanted = scheduler.get_velocity(target, noise, frame_timesteps) if velocity else noise
    errors = prediction.float() - wanted
    if rollout is not None:
        errors = errors * rollout.deviation(frame_timesteps)
    squared = errors.square()
    losses = (squared if weights is None else squared * weights).mean((1, 2, 3))
    if change_weight or still_weight:
        changes = _change_losses(errors, target, len(reference), change_weight, still_weight)
        losses = losses + changes.repeat_interleave(conditioning.frames)
    if not min_snr:
        return losses
    snr = compute_snr(scheduler, frame_timesteps)
    return losses * snr.clamp(max=min_snr) / (snr + 1 if velocity else snr)


def _change_losses(errors: Tensor, target: Tensor, clips: int, change_weight: float, still_weight: float) -> Tensor:
    """Return the weighted losses of the change of the errors between frames, `[clips]`."""
    changes, moves = (x.unflatten(0, (clips, -1)).diff(dim=1).square() for x in (errors, target))
    # Halved, so that errors that are independent between frames weigh as much as in the frames themselves.
    losses = change_weight * changes.mean((1, 2, 3, 4)) / 2
    if not still_weight:
        return losses
    still = HALF_STILL / (HALF_STILL + moves.mean(2, keepdim=True))
    squared = (changes * still).mean((1, 2, 3, 4)) / still.mean((1, 2, 3, 4))
    # A root, for even little flicker is visible where nothing moves; its slope is finite at 0.
    return losses + still_weight * ((squared + 1e-8).sqrt() - 1e-4)


def guided_prediction(
    networks: Networks, conditioning: Conditioning, scale: float, people: Tensor, noisy: Tensor, timesteps: Tensor
) -> Tensor:
    """Return the guided prediction for some people.

    scale: of guidance, whose unconditional prediction is that of the UNet alone. people: indices `[P]`. noisy:
    `[P * n, 4, h, w]`. timesteps: `[P]`.
    """
    conditioning = conditioning.select(people)
    prediction = _controlled_prediction(networks, conditioning, noisy, timesteps)
    if scale == 1:
        return prediction
    plain = predict(networks, noisy, timesteps.repeat_interleave(conditioning.frames), conditioning.frame_context)
    return guide(prediction, plain, scale)


def _controlled_prediction(networks: Networks, conditioning: Conditioning, noisy: Tensor, timesteps: Tensor) -> Tensor:
    """Return the prediction with the controls that each person keeps, `[R * n, 4, h, w]`."""
    frames, keep = conditioning.frames, conditioning.keep_reference
    frame_timesteps = timesteps.repeat_interleave(frames)
    residuals = read_pose(networks, noisy, frame_timesteps, conditioning.frame_context, conditioning.pose.flatten(0, 1))
    if residuals is not None and conditioning.keep_pose is not None and not conditioning.keep_pose.all():
        residuals = _zeroed(residuals, conditioning.keep_pose.repeat_interleave(frames))
    if networks.appearance is None or keep is None or keep.all():
        source = read_reference(networks, conditioning.reference, timesteps, conditioning.context)
        return predict(networks, noisy, frame_timesteps, conditioning.frame_context, source, residuals, 1.0, frames)
    # Rows with and without the reference go through the UNet separately, so that attention needs no mask.
    prediction = torch.empty_like(noisy)
    for kept in (True, False):
        people = (keep == kept).nonzero()[:, 0]
        if not len(people):
            continue
        rows = (keep == kept).repeat_interleave(frames).nonzero()[:, 0]
        some = conditioning.select(people)
        source = read_reference(networks, some.reference, timesteps[people], some.context) if kept else None
        own = None if residuals is None else PoseResiduals(tuple(d[rows] for d in residuals.down), residuals.mid[rows])
        part = predict(networks, noisy[rows], frame_timesteps[rows], some.frame_context, source, own, 1.0, frames)
        prediction = prediction.index_copy(0, rows, part.to(prediction))
    return prediction


def _zeroed(residuals: PoseResiduals, keep: Tensor) -> PoseResiduals:
    def zeroed(x: Tensor) -> Tensor:
        return x * keep.to(x)[:, None, None, None]

    return PoseResiduals(tuple(map(zeroed, residuals.down)), zeroed(residuals.mid))
