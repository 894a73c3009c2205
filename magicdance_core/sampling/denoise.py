"""The denoising loop: predictions with and without the controls, guidance, and the scheduler's steps."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from diffusers import SchedulerMixin
from torch import Tensor

from ..errors import InputError
from ..models import Networks, ReferenceReader, ReferenceSource, downscaling, project_bank
from ..schedule import predict_x0
from .background import FrameBackground
from .guidance import GuidanceBranch, guide, predict_batched, predict_branch
from .hints import Hints, PeopleApart, ResidualCache
from .noise import FrameNoise
from .order import Finished, Order, WindowSchedule, in_frame_order, preview
from .reference import BankCache, EncodedReference, fits_batched_guidance
from .regions import APART, EncodedRegions
from .settings import Control, SamplingSettings
from .steps import FiniteCheck, FrameScheduler
from .windows import Batches, Window, Windows


@dataclass(frozen=True)
class Progress:
    """State of a run after a batch of frames.

    step: from 0, of `steps`; in the diagonal order several steps are in progress. frame: number of frames that have
    finished this step, of `frames`. numbers: of the batch's frames, from 0. fraction: of the whole run, in (0, 1].
    denoised: clean scaled latents `[n, 4, h, w]` of the batch as predicted at this step, float32, for previews,
    computed on access; None if the scheduler has no alphas.
    """

    step: int
    steps: int
    frame: int
    frames: int
    numbers: tuple[int, ...]
    fraction: float
    predict: Callable[[], Tensor | None] = field(repr=False, compare=False)

    @cached_property
    def denoised(self) -> Tensor | None:
        return self.predict()


ProgressCallback = Callable[[Progress], None]


@dataclass(frozen=True)
class DenoisingInputs:
    """Initial noise and conditions of a run.

    noise: of every frame. frames: how many. context: prompt `[1, n, C]`; the networks compute on its device and in its
    dtype, guidance and scheduler in float32. uncond_context: prompt of the unconditional prediction; None for
    `context`. reference, hints: None for no control. source: clean scaled latents of given pictures, which the frames
    start from (`settings.strength`); None to start from noise. background: what stays outside of a mask, and its clean
    scaled latents.
    Raises InputError for NaN or infinite prompts, and for noises that are not as many as the frames.
    """

    noise: FrameNoise
    frames: int
    context: Tensor
    uncond_context: Tensor | None = None
    reference: EncodedReference | EncodedRegions | None = None
    hints: Hints | None = None
    source: Hints | None = None
    background: tuple[Hints, FrameBackground] | None = None

    def __post_init__(self):
        for prompt in (self.context, self.uncond_context):
            if prompt is not None and not (prompt.is_meta or prompt.isfinite().all()):
                raise InputError("The prompt's embeddings contain NaN or infinite values: encode the prompt again.")
        if self.noise.given is not None and len(self.noise.given) != self.frames:
            raise InputError(
                f"There are {len(self.noise.given)} noises for {self.frames} frames: give one for all or one for each."
            )


def denoise(
    networks: Networks,
    scheduler: SchedulerMixin,
    settings: SamplingSettings,
    inputs: DenoisingInputs,
    callback: ProgressCallback | None = None,
) -> Tensor:
    """Denoise F frames; returns clean scaled latents `[F, 4, h, w]`, float32, on the device of `inputs.context`.

    Raises InputError as `Denoiser` does.
    """
    denoiser = Denoiser(networks, scheduler, settings, inputs, callback)
    windows = resolve_windows(networks, inputs.frames, settings)
    return torch.cat(list(in_frame_order(denoiser.run(windows, order="steps"))))


def resolve_windows(networks: Networks, frames: int, settings: SamplingSettings) -> Windows | Batches:
    """Return the windows of a run: those of the settings; by default 16 frames, a quarter of them overlapping, or as
    many as the motion module supports; plain batches of frames without a motion module.

    Raises InputError if the windows are longer than the module's position encoding.
    """
    if networks.motion is None:
        return Batches(settings.frames_per_batch)
    max_frames = networks.motion.max_frames
    if settings.windows is None:
        length = min(16, max_frames)
        return Windows(length, length // 4)
    length = settings.windows.length
    if min(length, frames) > max_frames:
        raise InputError(
            f"The context length is {length} frames and the motion module supports {max_frames}: give at most "
            f"{max_frames}."
        )
    return settings.windows


def _references(reference: EncodedReference | EncodedRegions) -> tuple[EncodedReference, ...]:
    return (reference,) if isinstance(reference, EncodedReference) else reference.references


class Denoiser:
    """Networks and scheduler for one run. `start`, `predict` and `advance` are what `WindowSchedule` calls.

    settings: resolved. The number of steps is taken exactly; the published code takes more where it does not divide
    1000. callback: called after each batch of frames; an exception raised there cancels the run.

    The reference is read once a step for consecutive windows of that step. Where all frames start from the same noise,
    the unconditional prediction of the first step is computed once.
    Raises InputError at the first step that gives values that are not finite.
    """

    def __init__(
        self,
        networks: Networks,
        scheduler: SchedulerMixin,
        settings: SamplingSettings,
        inputs: DenoisingInputs,
        callback: ProgressCallback | None = None,
    ):
        self._networks, self._settings, self._inputs, self._callback = networks, settings, inputs, callback
        self._context = context = inputs.context
        self._device, self._dtype = context.device, context.dtype
        self._uncond_context = context if inputs.uncond_context is None else inputs.uncond_context.to(context)
        if self._uncond_context is not context and torch.equal(self._uncond_context, context):
            self._uncond_context = context  # identity tells that the prompts are not contrasted
        self._regions = inputs.reference if isinstance(inputs.reference, EncodedRegions) else None
        self._readers: list[tuple[ReferenceReader, BankCache]] = []
        if networks.appearance is not None and inputs.reference is not None:
            for reference in _references(inputs.reference):
                latents = reference.latents.to(self._device, self._dtype)
                reference.banks.begin(context, self._uncond_context)
                self._readers.append((ReferenceReader(networks.appearance, latents, len(latents)), reference.banks))
        self._downscaling = downscaling(networks.unet)
        self._token_weights = None if self._regions is None else self._regions.token_weights(self._downscaling, context)
        has_pose = networks.pose is not None and inputs.hints is not None
        self._pose_control = settings.pose_control if has_pose else Control(0.0)
        self._motion_control = settings.motion_control
        if networks.motion is None or inputs.frames == 1:
            self._motion_control = Control(0.0)
        if networks.motion is not None and inputs.frames == 1:
            logging.getLogger(__name__).warning("A single frame has no motion: the motion module is not used.")
        self._residuals = ResidualCache(networks, inputs.hints, settings.shortcuts.pose_every)
        self._batched = settings.batched_guidance
        hints = () if self._regions is None or not has_pose else self._regions.hints
        self._people = PeopleApart(networks, hints) if hints else None

        strength = 1.0 if inputs.source is None else settings.strength
        self._scheduler = FrameScheduler(scheduler, settings.steps, inputs.noise, settings.eta, self._device, strength)
        self.steps = self._scheduler.number
        self._apart = round(APART * self.steps) if self._people else 0  # steps in which people are predicted one by one
        self._sources: dict[int, tuple[int, list[ReferenceSource]]] = {}  # prompt -> step of the last reading, result
        self._first_uncond: Tensor | None = None  # shared unconditional prediction of the first step
        self._branches: tuple[int, GuidanceBranch, GuidanceBranch] | None = None
        self._done = [0] * self.steps  # frames that have finished each step
        self._finite = FiniteCheck(self.steps, self._dtype, settings.scale)

    @torch.no_grad()
    def run(self, windows: Windows | Batches | WindowSchedule, order: Order = "diagonal") -> Iterator[Finished]:
        """Yield frames as they are finished, in an order of `order.ORDERS`; a restored `WindowSchedule` continues.

        With `settings.quick` the order is that of `order.preview`.
        """
        if isinstance(windows, WindowSchedule):
            schedule = windows
        else:
            schedule = WindowSchedule(windows, self._inputs.frames, self.steps, order)
        self._done = [
            schedule.finished + sum(frame.step > step for frame in schedule.active.values())
            for step in range(self.steps)
        ]
        if self._settings.quick:
            groups = preview(schedule.windows, schedule.frames, schedule.steps, self.start, self.predict, self.advance)
        else:
            groups = schedule.run(self.start, self.predict, self.advance)
        for finished in groups:
            if self._settings.quick or schedule.order == "diagonal":
                self._finite.check()
            frames = [frame for frame, _ in finished]
            self._residuals.drop(frames)
            if self._inputs.hints is not None:
                self._inputs.hints.drop(frames)
            if self._inputs.background is not None:
                self._inputs.background[0].drop(frames)
            yield finished

    def start(self, frame: int) -> Tensor:
        """Return a frame's initial latent, `[1, 4, h, w]`, at the scheduler's first noise level."""
        noise, source = self._inputs.noise.start(frame), self._inputs.source
        if source is None:
            return noise.to(self._device) * self._scheduler.first_sigma
        clean = source.take((frame,))
        source.drop((frame,))
        return self._scheduler.noised(clean, noise)

    def predict(self, step: int, window: Window, latents: Tensor) -> Tensor:
        """Return the conditional prediction for a window, guided if the unconditional one is made for windows, too."""
        cond, uncond = self._branches_at(step)
        inputs = self._scheduler.inputs(step, window.frames, latents)
        if cond.equals(uncond) or not self._guides_windows(uncond, step, inputs):
            return self._predict(cond, step, window.frames, inputs)
        if self._is_batched(inputs) and not cond.people:
            predictions = self._predict_both(cond, uncond, step, window.frames, inputs)
        else:
            predictions = (
                self._predict(cond, step, window.frames, inputs),
                self._predict(uncond, step, window.frames, inputs),
            )
        return guide(*predictions, self._settings.scale)

    def advance(self, step: int, frames: tuple[int, ...], predictions: Tensor, latents: Tensor) -> Tensor:
        """Step frames; guided here if the unconditional prediction is made for independent frames."""
        cond, uncond = self._branches_at(step)
        inputs = self._scheduler.inputs(step, frames, latents)
        if not (cond.equals(uncond) or self._guides_windows(uncond, step, inputs)):
            predictions = guide(predictions, self._predict_uncond(uncond, step, frames, inputs), self._settings.scale)
        after = self._with_background(step, frames, self._scheduler.advance(step, frames, predictions, latents))
        self._finite.add(after, step)
        if self._people is not None and step + 1 == self._apart:
            self._people.drop(list(frames))
        self._done[step] += len(frames)
        count = self._inputs.frames
        if self._done[step] == count:
            self._finite.check()
        if self._callback is not None:
            x0 = partial(predict_x0, self._scheduler.scheduler, inputs, predictions, self._scheduler.timesteps[step])
            fraction = sum(self._done) / (self.steps * count)
            self._callback(Progress(step, self.steps, self._done[step], count, frames, fraction, x0))
        return after

    def _with_background(self, step: int, frames: tuple[int, ...], latents: Tensor) -> Tensor:
        """Return the latents after a step with those of the background outside of its mask."""
        if self._inputs.background is None:
            return latents
        clean, background = self._inputs.background
        noise = torch.cat([self._inputs.noise.start(frame) for frame in frames])
        kept = self._scheduler.noised(clean.take(frames), noise, step + 1)
        return torch.where(background.latent_mask(frames).to(latents.device), latents, kept)

    def _guides_windows(self, uncond: GuidanceBranch, step: int, inputs: Tensor) -> bool:
        """Return whether the unconditional prediction is made for windows, not for independent frames: if the motion
        module takes part in it, or if windows are plain batches and both predictions go through together."""
        if uncond.motion_scale:
            return True
        return self._networks.motion is None and not self._is_shared(uncond, step) and self._is_batched(inputs)

    def _is_batched(self, inputs: Tensor) -> bool:
        if self._batched is None:
            self._batched = fits_batched_guidance(self._device, len(inputs), inputs[0, 0].numel(), self._dtype)
        return self._batched

    def _predict_both(
        self, cond: GuidanceBranch, uncond: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor
    ) -> tuple[Tensor, Tensor]:
        timestep, latents = self._scheduler.on_device[step], inputs.to(self._dtype)
        residuals = [self._residuals.get(branch, step, frames, latents, timestep) for branch in (cond, uncond)]
        cond, uncond = (self._in_regions(branch, frames) for branch in (cond, uncond))
        return predict_batched(self._networks, cond, uncond, latents, timestep, residuals)

    def _is_shared(self, branch: GuidanceBranch, step: int) -> bool:
        """Return whether the branch predicts the same for all frames."""
        starts_equal = self._inputs.noise.is_shared and self._inputs.source is None
        return step == 0 and starts_equal and not branch.pose_strength

    def _predict_uncond(self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor) -> Tensor:
        if not self._is_shared(branch, step):
            return self._predict(branch, step, frames, inputs)
        if self._first_uncond is None:
            self._first_uncond = self._predict(branch, step, frames[:1], inputs[:1])
        return self._first_uncond

    def _predict(self, branch: GuidanceBranch, step: int, frames: tuple[int, ...], inputs: Tensor) -> Tensor:
        timestep, latents = self._scheduler.on_device[step], inputs.to(self._dtype)
        if branch.people:
            return self._predict_apart(branch, frames, latents, timestep)
        residuals = self._residuals.get(branch, step, frames, latents, timestep)
        return predict_branch(self._networks, self._in_regions(branch, frames), latents, timestep, residuals)

    def _predict_apart(
        self, branch: GuidanceBranch, frames: tuple[int, ...], latents: Tensor, timestep: Tensor
    ) -> Tensor:
        """Return the predictions of people alone, each in its region."""
        assert self._regions is not None and self._people is not None
        weights, total = self._regions.at(frames), torch.zeros_like(latents, dtype=torch.float32)
        for number, source in enumerate(branch.people):
            weight = weights[:, number : number + 1]
            if not weight.is_meta and not weight.any():
                continue  # not in these frames
            residuals = self._people.residuals(number, branch, frames, self._at_start)
            alone = replace(branch, source=source, people=())
            total += weight.to(self._device) * predict_branch(self._networks, alone, latents, timestep, residuals)
        return total

    def _at_start(self, frame: int) -> tuple[Tensor, Tensor]:
        """Return a frame's first input, `[1, 4, h, w]`, and the first timestep."""
        inputs = self._scheduler.inputs(0, (frame,), self.start(frame))
        return inputs.to(self._dtype), self._scheduler.on_device[0]

    def _in_regions(self, branch: GuidanceBranch, frames: tuple[int, ...]) -> GuidanceBranch:
        """Return a branch whose references act in their regions of these frames."""
        if self._regions is None or branch.source is None:
            return branch
        weights = self._regions.at(frames).to(self._device)
        return replace(branch, source=branch.source.weighted(weights, self._downscaling))

    def _branches_at(self, step: int) -> tuple[GuidanceBranch, GuidanceBranch]:
        """Return the conditional and the unconditional branch; those of the last step asked for are cached."""
        if self._branches is None or self._branches[0] != step:
            settings, cond = self._settings, self._controlled(self._context, step)
            if settings.scale == 1 or not settings.shortcuts.guided(*self._place(step)):
                uncond = cond
            elif settings.control_mode == "balance":
                same = self._uncond_context is self._context
                uncond = cond if same else self._controlled(self._uncond_context, step)
            else:
                motion = self._motion_control.at(*self._place(step)) if settings.motion_in_uncond else 0.0
                uncond = GuidanceBranch(self._uncond_context, motion_scale=motion)
            self._branches = step, cond, uncond
        return self._branches[1:]

    def _place(self, step: int) -> tuple[int, int]:
        """Return the number of a step in the whole schedule, and that of all its steps."""
        return self._scheduler.skipped + step, self._scheduler.skipped + self.steps

    def _controlled(self, prompt: Tensor, step: int) -> GuidanceBranch:
        source, strength = None, self._settings.appearance_control.at(*self._place(step))
        people: tuple[ReferenceSource, ...] = ()
        if self._readers and strength:
            sources = self._read(prompt, self._settings.shortcuts.read_at(step), strength)
            source = replace(ReferenceSource.join(sources), token_weights=self._token_weights)
            if step < self._apart and self._regions is not None:
                people = self._regions.alone(sources, self._downscaling)
        pose, motion = (control.at(*self._place(step)) for control in (self._pose_control, self._motion_control))
        return GuidanceBranch(prompt, source, pose, motion, people)

    def _read(self, prompt: Tensor, step: int, strength: float) -> list[ReferenceSource]:
        """Return what the UNet attends to of each reference as it is read at a step."""
        cached = self._sources.get(id(prompt))
        if cached is not None and cached[0] == step:
            return cached[1]
        number, timestep = 0 if prompt is self._context else 1, float(self._scheduler.timesteps[step])
        sources = []
        for reader, banks in self._readers:
            bank = banks.get(number, timestep, partial(reader.bank, self._scheduler.on_device[step], prompt))
            sources.append(project_bank(self._networks.unet, bank, strength))
        self._sources[id(prompt)] = step, sources
        return sources
