"""From a checked configuration to the objects of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import nn

from mixup_lab.config.build import accepts, build
from mixup_lab.config.identity import mixes_nothing
from mixup_lab.config.schema import RunConfig
from mixup_lab.data.prepare import prepare
from mixup_lab.mixing.mixer import Bound, Mixer
from mixup_lab.mixing.none import NoMixing
from mixup_lab.mixing.schedules import MixSchedule
from mixup_lab.seeding import stream, torch_seed
from mixup_lab.targets.target import Target
from mixup_lab.training.accelerate import choose, compile_in_place
from mixup_lab.training.device import autocast, limits, resolve_device, set_deterministic
from mixup_lab.training.fit import Parts
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.training.trial import try_mixer, try_parts
from mixup_lab.transforms.transform import Transform
from mixup_lab.types import UserError


def assemble(config: RunConfig, fingerprint: str) -> Parts:
    """Build every object of a run: the cheap ones first, so that a mistake in them is found before data is read.

    Raises:
        UserError: if a component refuses its settings or the data.
    """
    schedule = build("scheduler", config.scheduler, trust=config.trust)
    made = ingredients(config)
    optimizer = build("optimizer", config.optimizer, trust=config.trust, model=made.model)
    if made.mixer.whole_batch and config.trainer.accumulate > 1:
        raise UserError("trainer.accumulate must be 1 with this aug, whose partners are needed inside the model")
    way = choose(made, optimizer)
    if way == "compile":
        compile_in_place(made.model)
    return Parts(**vars(made), optimizer=optimizer, schedule=schedule, fingerprint=fingerprint, accelerate=way)


def ingredients(config: RunConfig) -> Ingredients:
    """Build the objects that batches are made of; no optimizer, since the first one takes torch a second or two.

    Weights are drawn on the CPU from their own stream: they are the same in every arm of a seed and on every device.

    Raises:
        UserError: if a component refuses its settings or the data.
        RunFailed: if the device lacks memory, or an algorithm that the run needs.
    """
    settings = config.trainer
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    set_deterministic(settings.deterministic)
    device = resolve_device(settings.device)
    with limits(device):
        return _made(config, device)


def _made(config: RunConfig, device: torch.device) -> Ingredients:
    settings, trust = config.trainer, config.trust
    mixer = build("aug", config.aug, base=Mixer, trust=trust)
    if mixes_nothing(config.aug):  # whatever the method: the same arm, so the same bits
        mixer = NoMixing()
    transform = build("transform", config.transform, base=Transform, trust=trust)
    mix_schedule = build("mix_schedule", config.mix_schedule, base=MixSchedule, trust=trust)
    if not (mixer.scheduled or mix_schedule.constant):
        raise UserError(
            f"mix_schedule: {type(mixer).__name__} mixes alike in every epoch (its `scheduled` is False);"
            " set mix_schedule=constant, with warmup_epochs and off_epochs 0"
        )
    source = build("dataset", config.source, trust=trust)
    data = prepare(source, seed=config.seed, device=device, **vars(config.data))
    settings = settings.for_examples(len(data.train))
    if data.kind.placed and not transform.moves_targets:
        raise UserError(
            f"transform: {type(transform).__name__} cannot move {data.kind.kind} along with the picture;"
            " use none, crop_flip, cutout or random_erasing"
        )
    with _named("transform: "):
        transform.bind(data.encode)
    with _named("trainer."):
        task = data.kind.task(
            data.train.target,
            device,
            label_smoothing=settings.label_smoothing,
            class_weights=settings.class_weights,
            input_shape=data.input_shape,
        )
    if data.encode.tokens and not accepts("model", config.model, "num_tokens", trust=trust):
        raise UserError(
            "model: the examples are texts; set model=text_cnn, bilstm or text_transformer, and optimizer=adam"
        )
    torch.manual_seed(torch_seed(config.seed, "weights"))
    model = build(
        "model",
        config.model,
        base=nn.Module,
        trust=trust,
        offered=data.encode.offers(),
        input_shape=data.input_shape,
        num_outputs=task.num_outputs,
    )
    _check_answers(model, data.kind)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)
    made = Ingredients(data, task, model, transform, mixer, mix_schedule, settings, device, config.seed)
    batch = try_parts(made, stream(config.seed, "trial"))
    with _named("aug: "):
        autocasting = partial(autocast, settings.precision, device)
        mixer.bind(Bound(model, task.loss, data.input_shape, task.labels, data.encode.tokens, autocasting))
        try_mixer(mixer, batch, stream(config.seed, "trial"))
    return made


@contextmanager
def _named(prefix: str) -> Iterator[None]:
    """Turn a ValueError of a component into a UserError that begins with its group or key."""
    try:
        yield
    except ValueError as error:
        raise UserError(f"{prefix}{error}") from error


def _check_answers(model: nn.Module, kind: Target) -> None:
    """Raise UserError unless the model predicts targets of this kind; see `mixup_lab.models`."""
    answers, name = getattr(model, "answers", None), type(model).__name__
    if answers not in (None, kind.kind):
        raise UserError(f"model: {name} predicts {answers}, but the targets are {kind.kind}")
    if answers is None and kind.models:
        raise UserError(f"model: {name} does not predict {kind.kind}; use {kind.models}")
