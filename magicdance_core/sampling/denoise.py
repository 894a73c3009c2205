"""Denoising: what a walk over windows and steps asks of the networks and the schedule."""

import logging
from collections.abc import Callable, Iterator
from functools import partial

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..choices import CONTROL_MODES
from ..errors import InputError
from ..models import Networks, ReferenceReader, ReferenceSource, project_bank
from ..schedule import predict_x0
from .banks import Banks
from .guidance import GuidanceBranch, guide, predict_both, predict_branch
from .hints import Hints
from .memory import fits_both_halves
from .noise import FrameNoise, make_noise
from .order import Finished, Order, Walk, in_turn, preview
from .residuals import Residuals
from .settings import FULL, NO_SHORTCUTS, Control, FiniteCheck, Progress, Shortcuts, check_settings
from .steps import Steps
from .windows import Batches, Window, Windows


def denoise(
    networks: Networks,
    scheduler: SchedulerMixin,
    noise: Tensor | FrameNoise,
    context: Tensor,
    *,
    hints: Tensor | Hints | None = None,
    frames: int | None = None,
    order: Order = "steps",
    windows: Windows | None = None,
    frames_per_batch: int = 8,
    quick: bool = False,
    **options,
) -> Tensor:
    """Denoise F frames; returns clean scaled latents `[F, 4, h, w]`, float32, on the device of `context`.

    noise: `[1, 4, h, w]`, from which all frames start, or `[F, 4, h, w]`; standard normal, float32; or `FrameNoise`.
    hints: encoded poses `[F, C, h, w]` (`encode_poses`) on any device, or `Hints`; None for no control.
    frames: F; by default that of the tensor of hints, else of the rows of `noise`.
    order, windows: see `order` and `windows_for`. quick: in the order of `order.preview`, an approximation. options:
    see `Denoiser`.
    Raises InputError as `Denoiser` does, and for noise that does not fit the number of frames.
    """
    rows = len(noise) if isinstance(noise, Tensor) else 1
    if frames is None:
        frames = len(hints) if isinstance(hints, Tensor) else rows
    if rows not in (1, frames):
        raise InputError(f"There are {rows} noises for {frames} frames: give one for all or one for each.")
    if isinstance(hints, Tensor):
        hints = Hints(hints.split(1), lambda encoded: encoded.to(context))
    denoiser = Denoiser(networks, scheduler, noise, context, frames=frames, hints=hints, **options)
    walk = Walk(windows_for(networks, frames, windows, frames_per_batch), frames, denoiser.steps, order)
    return torch.cat(list(in_turn(denoiser.preview(walk) if quick else denoiser.run(walk))))


def windows_for(
    networks: Networks, frames: int, windows: Windows | None = None, frames_per_batch: int = 8
) -> Windows | Batches:
    """The windows of a run: those asked for; by default 16 frames, a quarter of them overlapping, or what the motion
    module knows; without a motion module mere batches of frames.

    Raises InputError for windows longer than the module's position encoding.
    """
    if networks.motion is None:
        return Batches(frames_per_batch)
    most = networks.motion.max_frames
    if windows is None:
        length = min(16, most)
        return Windows(length, length // 4)
    if min(windows.length, frames) > most:
        raise InputError(
            f"The context length is {windows.length} frames and the motion module knows {most}: give at most {most}."
        )
    return windows


class Denoiser:
    """The networks and the schedule at work for one run; `start`, `predict` and `advance` are what `Walk` asks for."""

    def __init__(
        self,
        networks: Networks,
        scheduler: SchedulerMixin,
        noise: Tensor | FrameNoise,
        context: Tensor,
        *,
        frames: int,
        num_inference_steps: int,
        guidance_scale: float,
        reference: Tensor | None = None,
        hints: Hints | None = None,
        uncond_context: Tensor | None = None,
        control_mode: str = "controlnet_important",
        appearance: Control = FULL,
        pose: Control = FULL,
        motion: Control = FULL,
        motion_in_uncond: bool = False,
        shortcuts: Shortcuts = NO_SHORTCUTS,
        one_pass: bool | None = None,
        banks: Banks | None = None,
        eta: float = 0.0,
        generator: torch.Generator | None = None,
        callback: Callable[[Progress], None] | None = None,
    ):
        """noise: see `denoise`. context: text `[1, n, C]`; where it is and its dtype are where the networks compute;
        guidance and schedule compute in float32.

        num_inference_steps: taken exactly; the published code takes more where it does not divide 1000.
        guidance_scale: 1 runs no second branch.
        reference: clean scaled latents `[R, 4, h', w']` of R pictures of one person, any size; None for no control.
        hints: of the frames' poses; None likewise.
        uncond_context: text of the branch that guidance leads away from; by default `context`.
        control_mode: "controlnet_important" contrasts the controls with the plain UNet; "balance" has the controls
        in both branches, so only texts are contrasted, and equal texts cost one branch.
        appearance, pose, motion: strength and range of each control. motion_in_uncond: the motion module acts in the
        branch that guidance leads away from, too. shortcuts: what is left out for speed.
        one_pass: both halves of guidance go through the UNet together, with the same result in half the calls and twice
        the memory; None decides by the device's memory. banks: keeps what the reference shows, for this and later runs.
        eta: of schedulers that take it. generator: seeds the noise added on the way, which frames share as they share
        what they start from. callback: called after each batch of frames. What it raises ends the run and comes out
        unchanged; the next run starts afresh.

        The reference is read once a window and step, once a step for all windows of a step in a row. Where all frames
        start from one noise, the unconditional branch of the first step is computed once.
        Raises InputError for an unknown mode, for what could only end in values that are not finite, and at the first
        step that gives such.
        """
        if control_mode not in CONTROL_MODES:
            raise InputError(f"The control mode {control_mode!r} is unknown: use {' or '.join(CONTROL_MODES)}.")
        check_settings(context, guidance_scale, uncond_context, eta)
        self._networks, self._context, self._frames, self._hints = networks, context, frames, hints
        self._device, self._dtype = context.device, context.dtype
        self._uncond_context = context if uncond_context is None else uncond_context.to(context)
        if self._uncond_context is not context and torch.equal(self._uncond_context, context):
            self._uncond_context = context  # the same object tells that nothing is contrasted
        self._reader = None
        if networks.appearance is not None and reference is not None:
            self._reader = ReferenceReader(networks.appearance, reference.to(self._device, self._dtype), len(reference))
        self._appearance, self._motion, self._motion_in_uncond = appearance, motion, motion_in_uncond
        self._pose = pose if networks.pose is not None and hints is not None else Control(0.0)
        if networks.motion is None or frames == 1:
            self._motion = Control(0.0)
        if networks.motion is not None and frames == 1:
            logging.getLogger(__name__).warning("One frame does not move: the motion module is left out.")
        self._guidance_scale, self._balance = guidance_scale, control_mode == "balance"
        self._shortcuts, self._residuals = shortcuts, Residuals(networks, hints, shortcuts.pose_every)
        self._banks = banks
        if banks is not None:
            banks.begin(context, self._uncond_context)
        self._sources: dict[int, tuple[int, ReferenceSource | None]] = {}  # of a text, as last read and at which step
        self._one_pass, self._callback = one_pass, callback

        self._schedule = Steps(scheduler, num_inference_steps, _way(noise, generator), eta, self._device)
        self.steps = self._schedule.number
        self._noise = noise
        self._alike = len(noise) == 1 if isinstance(noise, Tensor) else noise.kind == "shared"
        self._away: Tensor | None = None  # the unconditional branch of the first step, where all frames start alike
        self._branches: tuple[int, GuidanceBranch, GuidanceBranch] | None = None
        self._done = [0] * self.steps  # frames of each step
        self._finite = FiniteCheck(self.steps, self._dtype, guidance_scale)

    @torch.no_grad()
    def run(self, walk: Walk) -> Iterator[Finished]:
        """Frames as a walk has them ready; one that was restored goes on."""
        self._done = [
            walk.finished + sum(frame.step > step for frame in walk.alive.values()) for step in range(self.steps)
        ]
        yield from self._let_go(walk.run(self.start, self.predict, self.advance), walk.order == "diagonal")

    @torch.no_grad()
    def preview(self, walk: Walk) -> Iterator[Finished]:
        """Frames in the quick order of `order.preview`."""
        bunches = preview(walk.windows, walk.frames, walk.steps, self.start, self.predict, self.advance)
        yield from self._let_go(bunches, True)

    def _let_go(self, bunches: Iterator[Finished], check: bool) -> Iterator[Finished]:
        """The same; what is known of finished frames is let go. check: whether to ask for their values first."""
        for finished in bunches:
            if check:
                self._finite.ask()
            frames = [frame for frame, _ in finished]
            self._residuals.drop(frames)
            if self._hints is not None:
                self._hints.drop(frames)
            yield finished

    def start(self, frame: int) -> Tensor:
        """What a frame starts from, `[1, 4, h, w]`, as noisy as the schedule begins."""
        if isinstance(self._noise, Tensor):
            noise = self._noise[frame % len(self._noise)][None]
        else:
            noise = self._noise.start(frame)
        return noise.to(self._device) * self._schedule.first_sigma

    def predict(self, step: int, window: Window, latents: Tensor) -> Tensor:
        """The controlled prediction for a window, which is one clip; contrasted where the other branch is one too."""
        cond, uncond = self._branches_at(step)
        inputs = self._schedule.inputs(step, window.frames, latents)
        if cond.equals(uncond) or not self._sees_windows(uncond, step, inputs):
            return self._branch(cond, step, window.frames, inputs)
        if self._together(inputs):
            halves = self._both(cond, uncond, step, window.frames, inputs)
        else:
            halves = tuple(self._branch(branch, step, window.frames, inputs) for branch in (cond, uncond))
        return guide(*halves, self._guidance_scale)

    def advance(self, step: int, frames: tuple[int, ...], predictions: Tensor, latents: Tensor) -> Tensor:
        """Frames through a step; contrasted here where the other branch sees them on their own, each once."""
        cond, uncond = self._branches_at(step)
        inputs = self._schedule.inputs(step, frames, latents)
        if not (cond.equals(uncond) or self._sees_windows(uncond, step, inputs)):
            predictions = guide(predictions, self._alone(uncond, step, frames, inputs), self._guidance_scale)
        after = self._schedule.advance(step, frames, predictions, latents)
        self._finite.see(after, step)
        self._done[step] += len(frames)
        if self._done[step] == self._frames:
            self._finite.ask()
        if self._callback is not None:
            x0 = partial(predict_x0, self._schedule.scheduler, inputs, predictions, self._schedule.timesteps[step])
            fraction = sum(self._done) / (self.steps * self._frames)
            self._callback(Progress(step, self.steps, self._done[step], self._frames, frames, fraction, x0))
        return after

    def _sees_windows(self, uncond: GuidanceBranch, step: int, inputs: Tensor) -> bool:
        """Whether the branch that guidance leads away from is computed for windows and not for frames on their own:
        where the motion module has a say in it, and where windows are mere batches that go through together."""
        if uncond.motion_scale:
            return True
        return self._networks.motion is None and not self._is_shared(uncond, step) and self._together(inputs)

    def _together(self, inputs: Tensor) -> bool:
        if self._one_pass is None:
            self._one_pass = fits_both_halves(self._device, len(inputs), inputs[0, 0].numel(), self._dtype)
        return self._one_pass

    def _both(
        self, cond: GuidanceBranch, uncond: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        timestep, latents = self._schedule.on_device[step], inputs.to(self._dtype)
        residuals = [self._residuals.read(branch, step, frames, latents, timestep) for branch in (cond, uncond)]
        return predict_both(self._networks, cond, uncond, latents, timestep, residuals)

    def _is_shared(self, branch: GuidanceBranch, step: int) -> bool:
        """Whether all frames are alike to a branch."""
        return step == 0 and self._alike and not branch.pose_strength

    def _alone(self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor) -> Tensor:
        if not self._is_shared(branch, step):
            return self._branch(branch, step, frames, inputs)
        if self._away is None:
            self._away = self._branch(branch, step, frames[:1], inputs[:1])
        return self._away

    def _branch(self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor) -> Tensor:
        timestep, latents = self._schedule.on_device[step], inputs.to(self._dtype)
        residuals = self._residuals.read(branch, step, frames, latents, timestep)
        return predict_branch(self._networks, branch, latents, timestep, residuals)

    def _branches_at(self, step: int) -> tuple[GuidanceBranch, GuidanceBranch]:
        """With the controls, and what that is contrasted with; those of the last step asked for are kept."""
        if self._branches is None or self._branches[0] != step:
            cond = self._controlled(self._context, step)
            if self._guidance_scale == 1 or not self._shortcuts.guided(step, self.steps):
                uncond = cond
            elif self._balance:
                same = self._uncond_context is self._context
                uncond = cond if same else self._controlled(self._uncond_context, step)
            else:
                motion = self._motion.at(step, self.steps) if self._motion_in_uncond else 0.0
                uncond = GuidanceBranch(self._uncond_context, motion_scale=motion)
            self._branches = step, cond, uncond
        return self._branches[1:]

    def _controlled(self, text: Tensor, step: int) -> GuidanceBranch:
        source, strength = None, self._appearance.at(step, self.steps)
        if self._reader is not None and strength:
            source = self._source(text, self._shortcuts.read_at(step), strength)
        return GuidanceBranch(text, source, self._pose.at(step, self.steps), self._motion.at(step, self.steps))

    def _source(self, text: Tensor, step: int, strength: float) -> ReferenceSource:
        step_of_source, source = self._sources.get(id(text), (None, None))
        if step_of_source != step:
            read = partial(self._reader.bank, self._schedule.on_device[step], text)
            if self._banks is None:
                bank = read()
            else:
                number = 0 if text is self._context else 1
                bank = self._banks.get(number, float(self._schedule.timesteps[step]), read)
            source = project_bank(self._networks.unet, bank, strength)
            self._sources[id(text)] = step, source
        return source


def _way(noise: Tensor | FrameNoise, generator: torch.Generator | None) -> FrameNoise:
    """The noise that schedulers add."""
    if isinstance(noise, FrameNoise):
        return noise
    return make_noise("shared" if len(noise) == 1 else "independent", noise[:1], generator=generator)
