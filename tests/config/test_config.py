"""Schema, build and identity: what is refused, with which words, and which settings make a run another run."""

import pytest
from helpers.cases import each
from helpers.trainings import CONF, config_of
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from mixup_lab.config.build import accepts, build
from mixup_lab.config.identity import arm, arm_name, fingerprint
from mixup_lab.config.schema import DatasetSettings, parse, register
from mixup_lab.config.words import config_dir
from mixup_lab.runs.settings import MACHINE_KEYS
from mixup_lab.training.device import resolve_device
from mixup_lab.training.settings import TrainerSettings
from mixup_lab.types import UserError


@each(
    "words, message",
    [
        (["+typo=1"], "unknown key 'typo'"),
        (["+seeed=3"], "unknown key 'seeed'; did you mean 'seed'?"),
        (["+trainer.epocs=3"], "unknown key 'trainer.epocs'; did you mean 'trainer.epochs'?"),
        (["trainer.checkpoint_seconds=-1"], "trainer.checkpoint_seconds must be a finite number >= 0, got -1"),
        (["trainer.checkpoint_seconds=inf"], "trainer.checkpoint_seconds must be a finite number >= 0, got inf"),
        (["trainer.epochs=0"], "trainer.epochs must be auto or a whole number, at least 1, got 0"),
        (["trainer.precision=fp64"], "trainer.precision must be one of fp32, tf32, bf16, fp16, got fp64"),
        (["trainer.label_smoothing=1"], r"trainer.label_smoothing must be in \[0, 1\), got 1.0"),
        (["trainer.ema_decay=1"], r"trainer.ema_decay must be null or in \(0, 1\), got 1.0"),
        (
            ["trainer.accumulate=500", "trainer.batch_size=128"],
            "trainer.accumulate=500 cuts a batch into more pieces than trainer.batch_size=128",
        ),
        (["trainer.max_seconds=nan"], "trainer.max_seconds must be null or greater than 0, got nan"),
        (["dataset.val_fraction=1.5"], "dataset.val_fraction must be between 0 and 1, both excluded, got 1.5"),
        (["dataset.val_fraction=abc"], "dataset.val_fraction must be a number, got 'abc'"),
        (["dataset.workers=-1"], "dataset.workers must be 0 or more, got -1"),
        (["dataset.split_seed=-1"], "dataset.split_seed must be null or 0 or more, got -1"),
        (["dataset.test_fraction=0"], "dataset.test_fraction must be between 0 and 1, both excluded, got 0"),
        (["dataset.workers=1.5"], "dataset.workers must be a whole number, got 1.5"),
        (["dataset.split_seed=x"], "dataset.split_seed must be null or a whole number, got 'x'"),
        (["dataset.train_size=2.5"], "dataset.train_size must be null, a number of examples"),
        (["dataset.train_size=0"], "dataset.train_size must be null, a number of examples"),
        (["dataset.train_size=true"], "dataset.train_size must be null, a number of examples"),
        (["dataset.storage=disk"], "dataset.storage must be auto, resident or streaming, got disk"),
        (["seed=-1"], "seed must be 0 or more, got -1"),
        (["dataset=image_folder"], r"dataset.root has no value; give one with dataset.root=..."),
    ],
)
def test_parse_refuses(words, message):
    with pytest.raises(UserError, match=message):
        config_of(*words)


OUT_OF_RANGE = {
    "val_fraction": (0.0, 1.0, 1.5, -0.1, float("nan")),
    "test_fraction": (0.0, 1.0, 1.5, -0.1, float("nan")),
    "train_size": (0, -1, 0.0, 1.5, 100.0, True, float("nan"), "many"),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in OUT_OF_RANGE.items() for value in values])
def test_sizes_of_splits_out_of_range(key, value):
    with pytest.raises(UserError, match=rf"dataset.{key} must be .*, got {value}$"):
        DatasetSettings(**{key: value}).check()


@pytest.mark.parametrize("size", ["null", "100", "0.5", "1.0", "1"])
def test_train_size_as_a_number_or_a_fraction(size):
    assert str(config_of(f"dataset.train_size={size}").data.train_size) == size.replace("null", "None")


@each(
    "target, message",
    [
        ("os.system", r"aug._target_=os.system is not trusted: .* options of aug.* \(if .* add trust=\[os\]\)$"),
        ("mixup_lab.mixing.mixup.Mixxup", "aug._target_=mixup_lab.mixing.mixup.Mixxup is not trusted: [^(]*$"),
        # Each of these ran code, or wrote a file, while all of torch, torchvision and timm was trusted.
        ("torch.os.system", "is not trusted"),
        ("torch.hub.load", "is not trusted"),
        ("torch.serialization.load", "is not trusted"),
        ("torch.serialization.save", "is not trusted"),
        ("torch.utils.collect_env.run", "is not trusted"),
        ("torch._inductor.codecache.PyCodeCache.load", "is not trusted"),
        ("torch.distributed.run.main", "is not trusted"),
        ("torch.fx.graph_module._forward_from_src", "is not trusted"),
        ("torchvision.datasets.utils.download_url", "is not trusted"),
        ("timm.models._helpers.load_state_dict", "is not trusted"),
        ("mixup_lab.cli.main", "is not trusted"),
        ("mixup_lab.runs.environment.subprocess.run", "is not trusted"),
        ("mixup_lab.sources.digits.Digits", "is not trusted"),  # an option of another group
        (["os.system"], "is not trusted"),
        (None, "is not trusted"),
    ],
)
def test_build_refuses_targets(target, message):
    for trust in ((), ("my_package",)):
        with pytest.raises(UserError, match=message):
            build("aug", {"_target_": target}, trust=trust)


def test_trust_does_not_reach_through_a_package(tmp_path, monkeypatch):
    # Hydra itself refuses os.system, but not json.
    (tmp_path / "my_package.py").write_text("import json, os\nfrom json import loads as mix\n")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("os.system", "json.loads", "mix"):
        with pytest.raises(UserError, match=f"aug._target_=my_package.{name} is not trusted"):
            build("aug", {"_target_": f"my_package.{name}"}, trust=["my_package"])


def test_every_option_is_trusted():
    paths = [path for path in config_dir().glob("*/*.yaml") if "_target_" in path.read_text()]
    assert len(paths) > 70
    for path in paths:
        component = OmegaConf.to_container(OmegaConf.load(path))
        if "_target_" in component:  # the others build on another option
            assert not accepts(path.parent.name, component, "no_such_argument")


def test_trust_admits_a_package_by_name():
    node = {"_target_": "collections.OrderedDict"}
    with pytest.raises(UserError, match=r"add trust=\[collections\]"):
        build("aug", node)
    assert build("aug", node, trust=["collections"]) == {}


@each(
    "arguments, message",
    [
        ({"alhpa": 1}, "unknown key 'aug.alhpa'; did you mean 'aug.alpha'?"),
        ({"alpha": -1}, "aug.alpha must be a finite number >= 0, got -1"),
        ({"alpha": float("nan")}, "aug.alpha must be a finite number >= 0, got nan"),
        ({"alpha": "x"}, "^aug.alpha must be a number, got 'x'$"),
        ({"alpha": True}, "^aug.alpha must be a number, got True$"),
        ({"alpha": None}, "^aug.alpha must be a number, got null$"),
        (
            {"alpha": [0.1, 0.2]},
            r"^aug.alpha must be a number, got \[0.1, 0.2\]; several values to compare are written aug.alpha=0.1,0.2$",
        ),
        (
            {"alpha": "0.1 0.2"},
            "^aug.alpha must be a number, got '0.1 0.2'; several values to compare are written aug.alpha=0.1,0.2$",
        ),
        ({"beta": "x"}, "^aug.beta must be null or a number, got 'x'$"),
        ({"num_classes": 2.5}, "^aug.num_classes must be null or a whole number, got 2.5$"),
        ({"fold": 1}, "^aug.fold must be true or false, got 1$"),
        ({"partner": ["roll", "pairs"]}, r"^aug.partner must be a string, got \['roll', 'pairs'\]$"),
        ({"alpha": {"_target_": "torch.nn.ReLU"}}, "aug.alpha holds a _target_ of its own; components are flat"),
        ({"alpha": [{"_target_": "torch.nn.ReLU"}]}, "aug.alpha holds a _target_ of its own"),
    ],
)
def test_build_refuses_arguments(arguments, message):
    with pytest.raises(UserError, match=message):
        build("aug", {"_target_": "mixup_lab.mixing.mixup.Mixup", **arguments})


def test_any_torch_optimizer_and_its_refusals():
    import torch

    model = torch.nn.Linear(2, 2)

    def made(*words):
        return build("optimizer", config_of("optimizer=torch_optim", *words).optimizer, model=model)

    assert made("optimizer.name=RMSprop", "optimizer.args={alpha: 0.9}").defaults["alpha"] == 0.9
    with pytest.raises(UserError, match=r"torch.optim does not have RMSProp; did you mean RMSprop\?"):
        made("optimizer.name=RMSProp")
    with pytest.raises(UserError, match=r"torch\.optim\.RMSprop does not take beta"):
        made("optimizer.name=RMSprop", "optimizer.args={beta: 0.9}")
    with pytest.raises(UserError, match="lr must be greater than 0"):
        made("optimizer.name=RMSprop", "optimizer.lr=0")
    with pytest.raises(UserError, match=r"optimizer\.lr must be a finite number, got inf"):
        made("optimizer.name=RMSprop", "optimizer.lr=inf")
    with pytest.raises(UserError, match=r"momentum must be in \[0, 1\), got 2"):
        made("optimizer.name=RMSprop", "optimizer.args={momentum: 2}")


def test_a_device_of_cpu_has_no_number_and_threads_have_a_bound():
    with pytest.raises(UserError, match=r"trainer\.device must be auto, cpu, cuda, cuda:N or mps, got cpu:3"):
        resolve_device("cpu:3")
    with pytest.raises(UserError, match=r"trainer\.threads must be null or 1 to 1024, got 100000000"):
        TrainerSettings(threads=10**8).check()


def _composed(*words):
    """The resolved configuration of a line, and the options that it chooses."""
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=list(words), return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    OmegaConf.set_struct(cfg, False)
    del cfg["hydra"]
    return parse(cfg).resolved, choices


def _identity(*words):
    resolved, choices = _composed(*words)
    return arm(resolved, choices), fingerprint(resolved, choices)


def _both(resolved, choices):
    return arm(resolved, choices), fingerprint(resolved, choices)


@pytest.mark.parametrize("group", ["dataset", "model", "optimizer", "scheduler", "transform", "aug", "mix_schedule"])
def test_a_class_may_move_but_not_change(group):
    resolved, choices = _composed("aug=mixup")
    name = resolved[group]["_target_"].rpartition(".")[2]

    def changed(**fields):
        return _both({**resolved, group: {**resolved[group], **fields}}, choices)

    before = _both(resolved, choices)
    assert changed(_target_=f"somewhere.else_.{name}") == before
    for other in (
        changed(_target_="somewhere.Other"),
        changed(argument=1),
        _both(resolved, {**choices, group: "other"}),
        _both(resolved, {}),  # a configuration without known options
    ):
        assert other[0] != before[0]
        assert other[1] != before[1]


def test_seed_changes_the_run_but_not_the_arm():
    a, b = _identity("aug=mixup", "seed=0"), _identity("aug=mixup", "seed=1")
    assert a[0] == b[0]
    assert a[1] != b[1]


def test_machine_settings_change_nothing():
    resolved, choices = _composed("aug=mixup")
    for key in MACHINE_KEYS:
        group, _, name = key.rpartition(".")
        node = {**resolved[group], name: "other"} if group else "other"
        assert _both({**resolved, group or name: node}, choices) == _both(resolved, choices), key


@each(
    "word",
    ["aug=mixup", "optimizer.lr=0.2", "trainer.epochs=3", "model.dropout=0.1", "dataset.train_size=100",
     "trainer.precision=bf16", "scheduler=constant", "transform=crop_flip", "dataset.split_seed=0"],
)  # fmt: skip
def test_settings_that_matter_make_another_arm(word):
    assert _identity(word)[0] != _identity()[0]


def test_all_that_does_not_mix_is_one_arm():
    assert _identity("aug=cutmix", "aug.prob=0", "mix_schedule=linear") == _identity("aug=none")
    assert _identity("aug=mixup", "aug.alpha=0") == _identity("aug=none")
    assert _identity("aug=mixup", "aug.alpha=0.0", "aug.lam_per=sample") == _identity("aug=none")


@each(
    "choice, aug, name",
    [
        ("none", {"_target_": "mixup_lab.mixing.none.NoMixing"}, "baseline"),
        ("mixup", {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": 0}, "baseline"),
        ("mixup", {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": 0.4}, "mixup-a0.4"),
        ("mixup", {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": 1.0}, "mixup-a1"),
        (None, {"_target_": "mixup_lab.mixing.mixup.Mixup", "alpha": 1.0}, "mixup-a1"),
        ("mine", {"_target_": "my_methods.HalfAndHalf"}, "mine"),
    ],
)
def test_arm_names(choice, aug, name):
    assert arm_name(choice, aug) == name


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["aug=mixup", "aug.alpha=0.4", "seed=3"], "mixup-a0.4"),
        (["trainer.epochs=3", "trainer.device=cpu"], "baseline,epochs=3"),
        (["optimizer.lr=0.1", "model.hidden=[32,32]"], "baseline,model.hidden=-32-32-,optimizer.lr=0.1"),
    ],
)
def test_run_directories_are_named_after_what_was_set(words, name):
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides=words, return_hydra_config=True)
    cfg.hydra.overrides.task = words
    from mixup_lab.config.identity import run_name

    assert run_name(cfg) == name
    cfg.hydra.overrides.task = [f"optimizer.eps={'1' * 300}"]
    assert len(run_name(cfg)) == 120


def test_config_yaml_is_enough_to_compose_the_same_run():
    config = config_of("aug=mixup", "aug.alpha=0.4", "trainer.epochs=3")
    again = parse(OmegaConf.create(OmegaConf.to_yaml(OmegaConf.create(config.resolved))))
    assert again == config


def test_a_preview_keeps_what_a_preset_says():
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        drawn = compose("preview", overrides=["experiment=fashion_mnist_small_cnn", "seed=3"])
        trained = compose("train", overrides=["experiment=fashion_mnist_small_cnn", "seed=3"])
    assert {**drawn.trainer, "device": trained.trainer.device} == dict(trained.trainer)
    assert (drawn.seed, drawn.out, drawn.trainer.epochs) == (3, None, 5)
