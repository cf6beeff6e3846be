"""`mixup-lab train from=RUN_DIR`: the same settings, in a run of its own; nothing else of the files counts."""

import json

import pytest
from helpers.command_line import in_this_process
from helpers.processes import lines_of
from hydra import compose, initialize_config_dir

from mixup_lab.commands.again import replaced
from mixup_lab.config.launch import find_plugins
from mixup_lab.config.schema import parse, register
from mixup_lab.config.words import config_dir
from mixup_lab.types import UserError

FAKE = ("dataset=fake", "dataset.shape=[1,8,8]", "model.hidden=[8]", "trainer.epochs=1", "trainer.batch_size=64",
        "trainer.device=cpu", "trainer.threads=1", "aug=mixup", "aug.alpha=0.4", "+model.dropout=0.5")  # fmt: skip


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def configuration(words):
    """What Hydra composes of these words."""
    find_plugins()
    register()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return parse(compose("train", overrides=list(words)))


def save(folder, words, **changes):
    """The files of a run with this configuration, as far as they matter here, and with changes by somebody."""
    folder.mkdir()
    resolved = configuration(words).resolved
    for key, value in changes.items():
        group, _, name = key.partition(".")
        if name:
            resolved[group][name] = value
        else:
            resolved[group] = value
    (folder / "config.yaml").write_text(json.dumps(resolved))
    choices = dict(word.split("=") for word in words if "." not in word)
    (folder / "record.jsonl").write_text(json.dumps({"event": "start", "choices": choices}) + "\n")
    return resolved


def test_a_run_again_has_the_settings_of_the_first_and_a_place_of_its_own(line, tmp_path):
    words = [word.lstrip("+") for word in FAKE]
    assert line("train", *words, "hydra.run.dir=one run")[0] == 0
    code, _, err = line("train", "from=one run")
    assert (code, err) == (0, "")
    (again,) = tmp_path.glob("outputs/*/*/seed=0")
    assert again.parent.name.startswith("mixup-a0.4,")
    assert (again / "config.yaml").read_bytes() == (tmp_path / "one run" / "config.yaml").read_bytes()
    (first,), (second,) = ([e for e in lines_of(run) if e["event"] == "start"] for run in (tmp_path / "one run", again))
    assert second["fingerprint"] == first["fingerprint"]
    assert second["choices"] == first["choices"]


@pytest.mark.parametrize(
    "words",
    [
        ["aug=cutmix", "aug.alpha=0.3", "optimizer=adam", "optimizer.lr=1e-5", "trainer.clip_grad_norm=1.5"],
        ["dataset=table", "dataset.root=a b,c", "dataset.target=it's", "dataset.categorical=[x y]"],
        ["model=torchvision", "model.name=vgg11", "model.model_args={dropout: 0.3}", "transform=crop_flip"],
        ["scheduler=multistep", "scheduler.milestones=[0.2,0.7]", "trainer.deterministic=true"],
    ],
)
def test_every_setting_comes_back(words, tmp_path):
    words = [f"{word.partition('=')[0]}='{word.partition('=')[2]}'" if " " in word else word for word in words]
    words = [word.replace("it's", '"it\'s"') for word in words]
    resolved = save(tmp_path / "run", words)
    new = replaced([f"from={tmp_path / 'run'}"])
    assert configuration(new).resolved == resolved
    assert len(new) <= len(words) + 1, "only what differs from the defaults"
    changed = configuration(replaced([f"from={tmp_path / 'run'}", "seed=7", "aug=none"])).resolved
    assert changed == {**resolved, "seed": 7, "aug": configuration(["aug=none"]).resolved["aug"]}


def test_text_is_taken_as_it_is(tmp_path):
    for k, text in enumerate(["a'b\\", '"', "x,y", "[1]", "null", "1e3", "~/x", " ", "\\'", "a=b", "é"]):
        save(tmp_path / f"run{k}", ["dataset=image_folder", "dataset.root=x"], **{"dataset.root": text})
        assert configuration(replaced([f"from={tmp_path / f'run{k}'}"])).resolved["dataset"]["root"] == text


def test_nothing_but_settings_counts(tmp_path, line):
    save(tmp_path / "trusting", ["aug=mixup"], trust=["os"], **{"aug._target_": "os.system"})
    assert not [word for word in replaced([f"from={tmp_path / 'trusting'}"]) if word.startswith("trust")]
    code, _, err = line("train", "from=trusting")
    assert (code, err.count("\n")) == (2, 1)
    assert "aug._target_=os.system is not trusted" in err
    save(tmp_path / "hydra", [], hydra={"run": {"dir": "/tmp/elsewhere"}})
    with pytest.raises(UserError, match="unknown key 'hydra'"):
        replaced([f"from={tmp_path / 'hydra'}"])
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["from=nowhere"], "from=nowhere: there is no such directory; it must be a run directory"),
        (["from=."], "from=.: that is not a run directory, it has no config.yaml"),
        (["from=a", "from=b"], "give it once, and without resume="),
        (["from=a", "resume=b"], "give it once, and without resume="),
        (["from=foreign"], "aug has no option 'mine'"),
    ],
)
def test_what_cannot_be_trained_again(words, sentence, line, tmp_path):
    save(tmp_path / "foreign", ["aug=mixup"])
    (tmp_path / "foreign" / "record.jsonl").write_text('{"event": "start", "choices": {"aug": "mine", "model": 3}}\n')
    code, out, err = line("train", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert sentence in err
