"""Every option of every group, found in `conf/`, keeps the contract of its kind. A new yaml is covered at once."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.cases import each
from helpers.options import CONF, GROUPS, component, needed, options
from helpers.trainings import config_of
from omegaconf import OmegaConf

from mixup_lab.commands.evaluate import lenses_of
from mixup_lab.config.build import build
from mixup_lab.config.words import tree_of
from mixup_lab.data.source import Loaded
from mixup_lab.inputs.pictures import Pictures
from mixup_lab.mixing.mixer import Bound, Request, at_step, upload
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.seeding import stream
from mixup_lab.targets.classes import Classification
from mixup_lab.types import Batch, Labels


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in GROUPS for o in options(g)])
def test_every_option_is_explained_and_composes(group, option):
    text = (CONF / group / f"{option}.yaml").read_text()
    comments = [line for line in text.splitlines() if line.startswith("#") and "@package" not in line]
    assert comments, "the first comment line is the option's description in --help"
    assert 10 < len(comments[0]) <= 120
    if group == "lens":  # of finished runs, whose configuration is composed already
        other = {"unfamiliar": {"unfamiliar": {"dataset": "digits"}}}.get(option, {})  # it has no default
        assert list(lenses_of([option], other, [], tree_of([], "evaluate"))) == [option]
    else:
        config_of(f"{group}={option}", *needed(group, option))
    for line in text.splitlines():
        if group not in ("experiment", "variant") and line[:1].isalpha() and not line.startswith("defaults"):
            assert "#" in line, f"{line} has no comment"


@pytest.mark.parametrize("option", options("experiment"))
def test_presets_survive_composition(option):
    """What a preset sets is what the run gets; and a preset sets keys only of options that it chooses."""
    preset = OmegaConf.load(CONF / "experiment" / f"{option}.yaml")
    preset.pop("hydra", None)  # the axes of a study
    chosen = {key.removeprefix("override /") for entry in preset.pop("defaults", []) for key in entry}
    resolved = config_of(f"experiment={option}", *needed("experiment", option)).resolved
    for group, values in preset.items():
        assert group in chosen | {"trainer", "seed"}, f"{group} is set but not chosen"
        for key, value in values.items():
            assert resolved[group][key] == (OmegaConf.to_object(value) if OmegaConf.is_config(value) else value)


# ---- aug ----------------------------------------------------------------------------------------------------------


def _constant_pictures(batch_size):
    """Picture i is the constant i, and so is its label: what was mixed can be read from the pixels."""
    values = torch.arange(batch_size, dtype=torch.float32)
    return Batch(values[:, None, None, None].expand(-1, 3, 8, 8).contiguous(), torch.arange(batch_size))


NUM_CLASSES = 10


def _mixer(option, batch_size=7):
    """The option, told of a small model, as a run does."""
    mixer = build("aug", component("aug", option))
    torch.manual_seed(0)
    model = SmallCNN(input_shape=(3, 8, 8), num_outputs=NUM_CLASSES, width=2)
    mixer.bind(Bound(model, Classification(NUM_CLASSES).loss, (3, 8, 8), Labels(NUM_CLASSES)))
    return mixer


def _drawn(mixer, batch, steps=6, seed=0):
    targets = np.stack([batch.target.numpy()] * steps)
    draws = mixer.draw(stream(seed, "mixing"), Request(steps, len(batch.target), targets, (3, 8, 8)))
    assert all(len(values) == steps for values in draws.values())
    return [at_step(upload(draws, torch.device("cpu")), step) for step in range(steps)]


def _mean_label(mixed):
    """What a label asks for, as one number for each example: the mean class."""
    classes = torch.arange(NUM_CLASSES, dtype=torch.float32)
    own, partner = (t @ classes if t.is_floating_point() else t.float() for t in (mixed.target, mixed.partner))
    return mixed.lam * own + (1 - mixed.lam) * partner


# These change something else than inputs and labels alike: what, their own tests say.
UNLIKE = ("label_smoothing", "mixup_io", "noise", "noise_mix", "manifold_mixup")


@pytest.mark.filterwarnings("ignore:partner=")
@each("batch_size", [1, 2, 7])
@pytest.mark.parametrize("option", options("aug"))
def test_aug(option, batch_size):
    mixer = _mixer(option)
    assert mixer.alpha >= 0
    batch = _constant_pictures(batch_size)
    before = batch.inputs.clone(), batch.target.clone()
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    for draw, again in zip(_drawn(mixer, batch), _drawn(mixer, batch), strict=True):
        mixed = mixer.apply(batch, draw)
        rows = len(mixed.lam)
        assert rows in (batch_size, 2 * batch_size)
        assert mixed.inputs.shape == (rows, *batch.inputs.shape[1:])
        assert mixed.inputs.dtype == batch.inputs.dtype
        assert mixed.target.shape == mixed.partner.shape
        assert mixed.target.shape in ((rows,), (rows, NUM_CLASSES))
        assert mixed.lam.shape == (rows,)
        assert mixed.lam.dtype == torch.float32
        assert ((mixed.lam >= 0) & (mixed.lam <= 1)).all()
        if option not in UNLIKE:
            torch.testing.assert_close(mixed.inputs.mean((1, 2, 3)), _mean_label(mixed), atol=1e-5, rtol=1e-5)
        second = mixer.apply(batch, again)
        same = (a is b or torch.equal(a, b) for a, b in zip(mixed, second, strict=True))
        assert all(same), "same stream, same result"
    assert torch.equal(batch.inputs, before[0]), "the batch is not changed in place"
    assert torch.equal(batch.target, before[1])
    assert torch.equal(torch.get_rng_state(), states[0]), "the global generators are not touched"
    assert (np.random.get_state()[1] == states[1]).all()


@pytest.mark.parametrize("option", options("aug"))
def test_aug_in_bf16_and_channels_last(option):
    mixer = _mixer(option)
    batch = _constant_pictures(4)
    inputs = batch.inputs.to(torch.bfloat16, memory_format=torch.channels_last)
    if option == "saliencymix":
        mixer._bound.model.to(torch.bfloat16)
    for draw in _drawn(mixer, batch):
        mixed = mixer.apply(Batch(inputs, batch.target), draw)
        assert mixed.inputs.dtype == torch.bfloat16
        assert mixed.inputs.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("option", options("aug"))
def test_aug_scaled_to_nothing_leaves_inputs_and_labels(option):
    """What a schedule does in the epochs without mixing; alpha where there is one, else the share that is mixed."""
    mixer, batch, steps = _mixer(option), _constant_pictures(7), 5
    targets = np.stack([batch.target.numpy()] * steps)
    for scale in ("scale_alpha", "scale_prob"):
        drawn = mixer.draw(stream(0, "mixing"), Request(steps, 7, targets, (3, 8, 8), **{scale: np.zeros(steps)}))
        for step in range(steps):
            mixed = mixer.apply(batch, at_step(upload(drawn, torch.device("cpu")), step))
            torch.testing.assert_close(mixed.inputs, batch.inputs.repeat(len(mixed.lam) // 7, 1, 1, 1), rtol=0, atol=0)
            torch.testing.assert_close(_mean_label(mixed), batch.target.repeat(len(mixed.lam) // 7).float())


@pytest.mark.parametrize("option", options("aug"))
def test_aug_describes_itself(option):
    """What a preview shows is what was drawn: partners, law, layers, and strips that reach what they name."""
    mixer, batch = _mixer(option), _constant_pictures(7)
    for draw in _drawn(mixer, batch):
        draw = mixer.find_partners(draw, batch.inputs)
        mixed = mixer.apply(batch, draw)
        assert len(mixed.lam) == 7 * mixer.rows
        perms = mixer.partners(draw)
        assert all(perm.dtype == torch.int64 and perm.shape == (7,) for perm in perms)
        if not mixed.target.is_floating_point() and option != "mixup_io":
            partner = batch.target[perms[0]] if perms else batch.target
            assert torch.equal(mixed.last(7).partner, partner)
        assert mixer.layer(draw) in (None, *mixer.mixed_layers())
        assert isinstance(mixer.note(draw) + mixer.variety(draw), str)
    laws = mixer.laws()
    assert not laws or sum(weight for weight, _, _ in laws) == pytest.approx(1)
    for strip in mixer.strips():
        (draw, *_) = _drawn(strip.mixer, batch)
        lam = torch.tensor([strip.apply(batch, draw, value).last(7).lam.mean() for value in strip.values])
        if strip.parameter in ("lam", "own"):
            assert (lam.diff() <= 1e-6).all(), "lam falls from 1 to 0"
            assert lam[0] == 1
        else:
            assert option == "noise" or (lam[-1] < lam[0] and (lam.diff() <= 0).all()), "more of the partner, less own"


# ---- transform ----------------------------------------------------------------------------------------------------


@each("shape", [(1, 8, 8), (3, 32, 32), (3, 9, 13)])
@pytest.mark.parametrize("option", options("transform"))
def test_transform(option, shape):
    transform = build("transform", component("transform", option))
    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.integers(0, 256, (5, *shape), dtype=np.uint8))
    before = inputs.clone()
    draws = transform.draw(stream(0, "transform"), steps=3, batch_size=5)
    assert all(values.shape[:2] == (3, 5) for values in draws.values())
    for step in range(3):
        draw = {name: torch.from_numpy(values[step]) for name, values in draws.items()}
        out = transform.apply(inputs, draw)
        assert out.shape == inputs.shape
        assert out.dtype == torch.uint8
        assert torch.equal(out, transform.apply(inputs, draw))
    assert torch.equal(inputs, before)


@pytest.mark.parametrize("option", options("transform"))
def test_transform_looks_at_one_example_only(option):
    """Whatever is beside it: prepared alone, in another order or many steps at once, it becomes the same bits."""
    transform = build("transform", component("transform", option))
    transform.bind(Pictures((3, 32, 32), (0.4, 0.5, 0.6), (1, 1, 1)))
    inputs = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (24, 3, 32, 32), dtype=np.uint8))
    draws = transform.draw(stream(0, "transform"), steps=2, batch_size=12)
    draw = {name: torch.from_numpy(values).flatten(0, 1) for name, values in draws.items()}
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    with torch.device("meta"):  # so that whatever is not made on the inputs' device is of no use
        out = transform.apply(inputs, draw)
    order = torch.from_numpy(np.random.default_rng(1).permutation(24))
    again = transform.apply(inputs[order], {name: values[order] for name, values in draw.items()})
    assert torch.equal(again, out[order])
    for i in (0, 5, 23):
        alone = transform.apply(inputs[i : i + 1], {name: values[i : i + 1] for name, values in draw.items()})
        assert torch.equal(alone, out[i : i + 1])
    last = transform.apply(inputs.contiguous(memory_format=torch.channels_last), draw)
    assert torch.equal(last, out)
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.get_rng_state(), states[0]), "the global generators are not touched"
    assert (np.random.get_state()[1] == states[1]).all()
    same = transform.draw(stream(0, "transform"), steps=2, batch_size=12)
    assert all(np.array_equal(values, same[name]) for name, values in draws.items())


# ---- scheduler, optimizer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", options("scheduler"))
def test_scheduler(option):
    schedule = build("scheduler", component("scheduler", option))
    factors = [schedule(step, 200 * 7, 7) for step in range(200 * 7)]
    assert max(factors) == pytest.approx(1.0, abs=0.01)
    assert min(factors) >= 0
    assert factors == [schedule(step, 200 * 7, 7) for step in range(200 * 7)], "a pure function of the step"


@each("decay_norm_bias", [True, False])
@pytest.mark.parametrize("option", options("optimizer"))
def test_optimizer_lowers_a_loss(option, decay_norm_bias):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1))
    config = component(
        "optimizer", option, f"optimizer.decay_norm_bias={decay_norm_bias}", "optimizer.weight_decay=0.02"
    )
    optimizer = build("optimizer", config, model=model)
    decayed = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for p in model.parameters():
        assert decayed[id(p)] == (0.02 if decay_norm_bias or p.dim() >= 2 else 0.0)
    inputs, target = torch.randn(64, 4), torch.randn(64, 1)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = (model(inputs) - target).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# ---- dataset ------------------------------------------------------------------------------------------------------


EMBEDDED = ("digits", "fake", "breast_cancer", "wine", "iris", "diabetes", "moons", "circles", "spirals")


@pytest.mark.parametrize("option", EMBEDDED)
def test_embedded_dataset(option):
    loaded = build("dataset", component("dataset", option)).load()
    assert isinstance(loaded, Loaded)
    for pool in (loaded.train, loaded.val, loaded.test):
        if pool is not None:
            images = pool.load()
            assert images.dtype == (torch.uint8 if option in ("digits", "fake") else torch.float32)
            assert images.shape == (len(pool.target), *pool.shape)
            loaded.kind.check("train", pool.target)
            assert torch.equal(images[3], pool.read(3))


@pytest.mark.parametrize("option", [o for o in options("dataset") if o not in EMBEDDED])
def test_dataset_without_its_files_says_so(option, tmp_path, monkeypatch):
    from mixup_lab.types import UserError

    monkeypatch.chdir(tmp_path)
    downloads = "\ndownload:" in (CONF / "dataset" / f"{option}.yaml").read_text()
    words = ["dataset.download=false"] if downloads else []
    source = build("dataset", component("dataset", option, f"dataset.root={tmp_path / 'none'}", *words))
    with pytest.raises(UserError, match=r"dataset\.root"):
        source.load()
    assert not Path(tmp_path / "none").exists()
