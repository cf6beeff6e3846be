"""From a checked configuration to the objects of a run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mixup_lab.config.build import build
from mixup_lab.config.identity import mixes_nothing
from mixup_lab.config.schema import RunConfig
from mixup_lab.config.suits import check_answers, check_reads, check_transform
from mixup_lab.data.prepare import Data, prepare
from mixup_lab.mixing import trial
from mixup_lab.mixing.functional import union
from mixup_lab.mixing.mixer import Bound
from mixup_lab.mixing.none import NoMixing
from mixup_lab.seeding import stream, torch_seed
from mixup_lab.targets.choose import make_task
from mixup_lab.targets.kinds import Boxes, Pixels
from mixup_lab.training.device import compiled, resolve_device, set_deterministic
from mixup_lab.training.fit import Parts
from mixup_lab.training.ingredients import Ingredients
from mixup_lab.types import Batch, Labels, UserError

OFFERED = ("num_tokens", "blocks")  # what a model may want to know of the encoder, where that has it


def assemble(config: RunConfig, fingerprint: str) -> Parts:
    """Build every object of a run: the cheap ones first, so that a mistake in them is found before data is read.

    Raises:
        UserError: for whatever a component refuses.
    """
    schedule = build("scheduler", config.scheduler, trust=config.trust)
    made = ingredients(config)
    optimizer = build("optimizer", config.optimizer, trust=config.trust, model=made.model)
    if made.mixer.whole_batch and config.trainer.accumulate > 1:
        raise UserError("trainer.accumulate must be 1 with this aug, whose partners are needed inside the model")
    if config.trainer.compile:
        made = replace(made, model=compiled(made.model, made.device))
    return Parts(**vars(made), optimizer=optimizer, schedule=schedule, fingerprint=fingerprint)


def ingredients(config: RunConfig) -> Ingredients:
    """Build what the batches of a run are made of; without an optimizer, whose first one takes torch a second or two.

    Weights are drawn on the CPU from a stream of their own: every arm of a seed, on every device, starts with the same.

    Raises:
        UserError: for whatever a component refuses.
    """
    settings, trust = config.trainer, config.trust
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    set_deterministic(settings.deterministic)
    device = resolve_device(settings.device)
    mixer = build("aug", config.aug, trust=trust)
    if mixes_nothing(config.aug):  # whatever the method: the same arm, so the same bits
        mixer = NoMixing()
    transform = build("transform", config.transform, trust=trust)
    mix_schedule = build("mix_schedule", config.mix_schedule, trust=trust)
    source = build("dataset", config.source, trust=trust)
    data = prepare(source, seed=config.seed, device=device, **vars(config.data))
    check_transform(transform, data)
    if hasattr(transform, "bind"):
        try:
            transform.bind(data.input_shape, data.mean)
        except ValueError as error:
            raise UserError(f"transform: {error}") from error
    try:
        task = make_task(
            data.kind, data.train.target, device, settings.label_smoothing, settings.class_weights, data.input_shape
        )
    except ValueError as error:
        raise UserError(f"trainer.{error}") from error
    torch.manual_seed(torch_seed(config.seed, "weights"))
    check_reads(config, data)
    model = build(
        "model",
        config.model,
        trust=trust,
        offered={name: getattr(data.encode, name) for name in OFFERED if hasattr(data.encode, name)},
        input_shape=data.input_shape,
        num_outputs=task.num_outputs,
    )
    check_answers(model, data)
    layout = torch.channels_last if settings.channels_last else torch.contiguous_format
    model = model.to(device).to(memory_format=layout)
    boxes = isinstance(data.kind, Boxes)
    labels = Labels(
        task.num_classes,
        averaged=not boxes,
        one_each=not isinstance(data.kind, (Boxes, Pixels)),
        whole=boxes,
        join=union if boxes else None,
    )
    try:
        mixer.bind(Bound(model, task.loss, data.input_shape, labels, data.tokens))
        trial.check(mixer, _few_examples(data, layout), stream(config.seed, "trial"))
    except ValueError as error:
        raise UserError(f"aug: {error}") from error
    return Ingredients(data, task, model, transform, mixer, mix_schedule, settings, device, config.seed)


def _few_examples(data: Data, layout: torch.memory_format) -> Batch:
    """The first examples of train, as a training step has them."""
    stored = next(data.train.batches([np.arange(min(trial.EXAMPLES, len(data.train)))]))
    inputs = data.encode(stored.inputs)
    return Batch(inputs.contiguous(memory_format=layout) if inputs.dim() == 4 else inputs, stored.target)
