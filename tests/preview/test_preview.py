"""`mixup-lab preview`: the arrays behind the sheet, the sheet of every method, the files, and what it refuses."""

import io
import runpy
import sys

import numpy as np
import pytest
import torch
from helpers.command_line import in_this_process
from helpers.processes import CHECKOUT
from helpers.trainings import CONF, config_of
from PIL import Image

from mixup_lab.commands.preview import name_of, view_in_tensorboard
from mixup_lab.config.assemble import assemble, ingredients
from mixup_lab.config.completion import complete
from mixup_lab.inputs.pictures import Pictures, picture_tiles
from mixup_lab.mixing import (
    Bound,
    CutMix,
    FMix,
    GridMix,
    KFoldMixup,
    Labels,
    LabelSmoothing,
    ManifoldMixup,
    Mixup,
    MixupCutMix,
    Noise,
    NoMixing,
    RegMixup,
    Request,
    ResizeMix,
    SmoothMix,
)
from mixup_lab.mixing.mixer import LAMS, at_step
from mixup_lab.models.mlp import MLP
from mixup_lab.preview import shares
from mixup_lab.preview.examples import COUNT, Beginning, label_lines
from mixup_lab.preview.sheet import Title, draw_sheet
from mixup_lab.preview.strips import strips
from mixup_lab.seeding import stream
from mixup_lab.targets.classes import Classes
from mixup_lab.training.fit import Fit
from mixup_lab.types import Batch, Mixed, UserError

SMALL = ("dataset=fake", "dataset.shape=[3,8,8]", "model=small_cnn", "trainer.batch_size=16", "trainer.device=cpu")
OPTIONS = sorted(path.stem for path in (CONF / "aug").glob("*.yaml"))


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


@pytest.fixture
def few_draws(monkeypatch):
    monkeypatch.setattr(shares, "DRAWS", 128)
    monkeypatch.setattr(shares, "ASKED", 16)


def beginning(*words: str) -> Beginning:
    return Beginning(ingredients(config_of(*SMALL, *words)))


def three() -> Batch:
    return Batch(torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 8, 8))).float(), torch.tensor([0, 1, 2]))


def pair() -> Batch:
    return Batch(*(part[:2] for part in three()))


# ---- examples -------------------------------------------------------------------------------------------------------


def test_the_batches_are_those_of_a_training():
    words = (*SMALL, "transform=crop_flip", "aug=cutmix", "aug.lam_per=sample", "seed=3")
    fit = Fit(assemble(config_of(*words), ""), CHECKOUT)
    plan = fit.batches.plan(0)
    shown = Beginning(ingredients(config_of(*words)))
    for (i, prepared), place in zip(fit.batches.prepared(plan, 0), shown.steps, strict=False):
        batch = fit.batches.encoded(prepared.batch)
        _, same = shown.batch(*place)
        assert torch.equal(same.inputs, batch.inputs)
        assert torch.equal(same.target, batch.target)
        for name, value in at_step(plan.mixing, i).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(shown.draw(*place)[name]))


@pytest.mark.parametrize("per", ["batch", "sample"])
def test_examples_show_what_was_mixed_and_are_spread(per):
    found = beginning("aug=mixup", f"aug.lam_per={per}", "transform=crop_flip").examples()
    assert len(found) == COUNT
    assert [e.lam for e in found] == sorted((e.lam for e in found), reverse=True)
    assert found[0].lam > 0.8
    assert found[-1].lam < 0.2
    assert max(np.diff([-e.lam for e in found])) < 0.3
    for example in found:
        (other,) = example.others
        torch.testing.assert_close(example.mixed, example.lam * example.own + (1 - example.lam) * other)
        own, partner = map(int, example.targets)
        assert own != partner
        assert example.label == (f"{example.lam:.2f} * class {own}", f"{1 - example.lam:.2f} * class {partner}")


def test_partners_that_are_found_by_distance_are_shown():
    for example in beginning("aug=mixup", "aug.partner=nearest_feature", "model=mlp").examples():
        (other,) = example.others
        torch.testing.assert_close(example.mixed, example.lam * example.own + (1 - example.lam) * other)


def test_a_schedule_that_starts_with_nothing_is_drawn_at_its_full_strength():
    found = beginning("aug=mixup", "mix_schedule=linear").examples()
    assert min(example.lam for example in found) < 0.2


def test_examples_of_a_run_of_few_steps_are_mixed_too():
    shown = beginning("aug=mixup", "trainer.epochs=1", "dataset.train_size=32")
    assert len(shown.steps) == 48 > len(shown.steps[0][0].order) == 2
    assert all((shown.draw(*place)["lam"] < 1).all() for place in shown.steps)


def test_a_batch_that_is_too_large_is_refused():
    with pytest.raises(UserError, match=r"trainer\.batch_size=500 is larger"):
        beginning("trainer.batch_size=500")


def test_label_lines():
    kind = Classes(tuple("abcd"))
    one = torch.tensor([0])

    def lines(target, partner, lam, classes):
        targets = [torch.tensor(k) for k in classes]
        return label_lines(Mixed(None, target, partner, torch.tensor([lam])), 0, targets, kind)

    assert lines(one, one + 1, 0.7, (0, 1)) == ("0.70 * a", "0.30 * b")
    assert lines(one, one, 0.7, (0, 0)) == ("0.70 * a", "0.30 * a")
    assert lines(one, one + 1, 1.0, (0, 1)) == ("1.00 * a",)
    assert lines(one, one, 0.7, (0, 1)) == ("1.00 * a", "(lam 0.70)")  # the label is not mixed
    soft = torch.tensor([[0.2, 0.5, 0.3, 0.0]])
    assert lines(soft, soft, 0.2, (0, 1, 2)) == ("0.20 * a", "0.50 * b", "0.30 * c")
    smooth = torch.tensor([[0.775, 0.075, 0.075, 0.075]])
    assert lines(smooth, smooth, 1.0, (0,)) == ("0.775 * a", "0.075 * each other")


# ---- lam ------------------------------------------------------------------------------------------------------------


def test_the_histogram_counts_the_draws():
    mixer = Mixup(0.4)
    found = shares.measure(mixer, pair(), seed=1)
    drawn = mixer.draw(stream(1, "preview"), Request(shares.DRAWS, 1))["lam"][:, 0]
    assert shares.DRAWS >= 4000
    assert (found.lam == drawn).all()
    assert (found.counts == np.histogram(drawn, shares.BINS, (0, 1))[0]).all()
    assert found.mean == pytest.approx(drawn.mean(dtype=float))
    assert found.nearly_unmixed == np.mean((drawn < 0.05) | (drawn > 0.95))
    spread = np.sqrt(len(drawn) * found.law * (1 - found.law))
    assert (abs(found.counts - len(drawn) * found.law) < 4.5 * spread).all()


@pytest.mark.parametrize("per", ["batch", "sample", "pair"])
def test_it_counts_what_was_done(per):
    found = shares.measure(CutMix(1.0, lam_per=per), pair(), seed=0)
    assert len(found.lam) == shares.DRAWS
    assert found.mean > 0.6  # rectangles that stick out are cut off
    np.testing.assert_allclose(found.law, 1 / shares.BINS)


@pytest.mark.parametrize(
    "mixer",
    [
        Mixup(0.2, prob=0.5),
        Mixup(1.0, law="fixed", lam=0.7),
        Mixup(2.0, law="uniform", lam_min=0.2, lam_max=0.6),
        Mixup(0.3, fold=True),
        KFoldMixup(0.5, num_classes=3),
        MixupCutMix(0.8, prob_mixup=0.6, prob_cutmix=0.3, prob_none=0.1),
        RegMixup(20.0),
    ],
)
def test_the_law_is_that_of_the_draws(mixer):
    law = shares.expected(mixer.laws())
    assert law.sum() == pytest.approx(1)
    if not isinstance(mixer, MixupCutMix):
        counts = shares.measure(mixer, pair(), seed=0).counts
        assert counts.sum() == shares.DRAWS
        assert abs(counts / shares.DRAWS - law).max() < 0.03


def test_methods_without_a_law_have_none():
    for mixer in (ResizeMix(), SmoothMix(), Noise(), NoMixing(), LabelSmoothing()):
        assert shares.expected(mixer.laws()) is None


def test_of_three_pictures_none_has_to_be_small():
    found = shares.measure(KFoldMixup(1.0, num_classes=3), pair(), seed=0)
    assert found.nearly_unmixed < (found.lam < 0.05).mean() + (found.lam > 0.95).mean()


def test_layers_are_counted():
    mixer = ManifoldMixup(1.0)
    model = MLP(input_shape=(3, 8, 8), num_outputs=3)
    mixer.bind(Bound(model, torch.nn.functional.cross_entropy, (3, 8, 8), Labels(3)))
    layers = shares.measure(mixer, pair(), seed=0).layers
    assert list(layers) == ["input", "hidden.0", "hidden.1"]
    assert sum(layers.values()) == pytest.approx(1)
    assert min(layers.values()) > 0.3


# ---- strips ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixer", [Mixup(0.4), RegMixup(), Mixup(1.0, prob=0.0, lam_per="sample", partner="same_class")]
)
def test_the_strip_of_mixup_is_the_formula(mixer):
    (strip,) = strips(mixer, pair(), seed=0)
    own, partner = pair().inputs
    assert strip.values == LAMS == (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0)
    for lam, inputs, done in zip(LAMS, strip.inputs, strip.lam, strict=True):
        torch.testing.assert_close(inputs, lam * own + (1 - lam) * partner, atol=1e-6, rtol=0)
        assert done == pytest.approx(lam)


@pytest.mark.parametrize("mixer", [CutMix(), FMix(), GridMix(), CutMix(lam_per="sample"), FMix(lam_per="pair")])
def test_the_strip_of_a_mask_grows_at_one_place(mixer):
    (strip,) = strips(mixer, pair(), seed=0)
    own, partner = pair().inputs
    pasted = torch.stack([(inputs == partner).all(0) for inputs in strip.inputs])
    assert (pasted | torch.stack([(inputs == own).all(0) for inputs in strip.inputs])).all()
    assert (pasted[1:] | ~pasted[:-1]).all(), "what is pasted stays pasted as lam falls"
    for mask, done in zip(pasted, strip.lam, strict=True):
        assert 1 - mask.float().mean() == pytest.approx(done)
    assert strip.lam[0] == 1
    assert strip.lam[5] == pytest.approx(0.5, abs=0.2)


def test_strips_over_a_parameter_of_the_methods_own():
    (strip,) = strips(ResizeMix(), pair(), seed=0)
    assert (strip.parameter, strip.values[0], strip.values[-1]) == ("tau", 0.1, 0.8)
    assert list(strip.lam) == sorted(strip.lam, reverse=True)
    (strip,) = strips(SmoothMix(), pair(), seed=0)
    assert (strip.parameter, strip.values[0], strip.values[-1]) == ("sigma", 0.25, 0.5)
    assert list(strip.lam) == sorted(strip.lam, reverse=True)
    (strip,) = strips(Noise(0.2), Batch(*(part[:1] for part in pair())), seed=0)
    assert torch.equal(strip.inputs[0], pair().inputs[0])
    assert strip.values[5] == pytest.approx(0.2)


def test_the_strip_of_kfold_shares_the_rest_evenly():
    (strip,) = strips(KFoldMixup(num_classes=3), three(), seed=0)
    own, second, third = three().inputs
    torch.testing.assert_close(strip.inputs[5], 0.5 * own + 0.25 * second + 0.25 * third)
    torch.testing.assert_close(strip.inputs[-1], 0.5 * second + 0.5 * third)


def test_what_has_nothing_to_vary_has_no_strip():
    for mixer in (NoMixing(), LabelSmoothing(num_classes=3), Mixup(labels="labels_only")):
        assert strips(mixer, pair(), seed=0) == []
    assert [strip.title for strip in strips(MixupCutMix(), pair(), seed=0)] == [
        "Mixup: one pair over lam",
        "CutMix: one pair over lam",
    ]


# ---- tiles ----------------------------------------------------------------------------------------------------------


def test_tiles_are_the_pixels_themselves_enlarged():
    raw = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 3, 5, 8), dtype=np.uint8))
    encode = Pictures((3, 5, 8), (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))
    tiles = encode.draw(encode(raw), box=50)
    assert tiles.shape == (2, 30, 48, 3)
    assert (tiles[:, ::6, ::6] == raw.permute(0, 2, 3, 1).numpy()).all()
    assert (tiles[:, 5::6, 5::6] == tiles[:, ::6, ::6]).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_tiles_of_large_pictures_fit(channels):
    tiles = picture_tiles(torch.rand(2, channels, 100, 300), box=96)
    assert tiles.shape == (2, 32, 96, 3)
    assert tiles.dtype == np.uint8


# ---- sheets ---------------------------------------------------------------------------------------------------------


def sheet(option: str) -> tuple[bytes, tuple[int, int]]:
    parts = ingredients(config_of(*SMALL, f"aug={option}", "transform=crop_flip"))
    return draw_sheet(parts, Title("A title", "What it is", (("seed", "0"),)))


@pytest.mark.parametrize("option", OPTIONS)
def test_every_method_has_a_sheet(option, few_draws):
    png, size = sheet(option)
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == size
        assert size[0] == 1228
        assert 350 < size[1] < 1500
        assert np.asarray(picture).std() > 20


@pytest.mark.parametrize("option", ["fmix", "noise_mix"])
def test_the_same_words_give_the_same_bytes(option, few_draws):
    assert sheet(option)[0] == sheet(option)[0]


@pytest.mark.slow
def test_the_gallery(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["gallery", "--out", str(tmp_path / "gallery.png")])
    runpy.run_path(str(CHECKOUT / "scripts" / "gallery.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith(str(tmp_path))
    with Image.open(tmp_path / "gallery.png") as picture:
        assert picture.size[0] == 1004
        assert picture.size[1] > 90 * len(OPTIONS) / 2


# ---- the command ----------------------------------------------------------------------------------------------------


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def test_the_command_writes_a_picture_and_shows_it_in_tensorboard(run, tmp_path, few_draws):
    words = ("preview", *SMALL, "aug=mixup", "aug.alpha=0.4", "seed=1")
    code, out, err = run(*words)
    folder = tmp_path / "outputs" / "preview"
    path = folder / "fake-none-mixup-a0.4.png"
    assert (code, out, err) == (0, "outputs/preview/fake-none-mixup-a0.4.png\n", "")
    assert 10_000 < path.stat().st_size < 300_000
    first = path.read_bytes()
    assert run(*words)[0] == 0
    assert path.read_bytes() == first
    assert run("preview", *SMALL, "aug=none", "transform=crop_flip")[1] == "outputs/preview/fake-crop_flip-none.png\n"
    (picture,) = events(folder).Images("preview")
    assert picture.encoded_image_string == (folder / "fake-crop_flip-none.png").read_bytes()
    files = sorted(folder.glob("events*"))
    assert [path.stat().st_size > 0 for path in files] == [False, True], "replaced, not piled up"
    assert {path.suffix for path in folder.iterdir()} == {".png", ".preview"}


def test_another_place_and_several_at_once(run, tmp_path, few_draws):
    code, out, _ = run("preview", *SMALL, "aug=mixup", "out=new/folder/mine.PNG")
    assert (code, out) == (0, "new/folder/mine.PNG\n")
    assert (tmp_path / "new" / "folder" / "mine.PNG").stat().st_size > 10_000
    assert [path.suffix for path in (tmp_path / "outputs" / "preview").iterdir()] == [".preview"]
    code, out, _ = run("preview", "-m", *SMALL, "aug=mixup,resizemix")
    assert code == 0
    assert out.split() == [f"outputs/preview/fake-none-{name}.png" for name in ("mixup-a1", "resizemix")]


def test_foreign_event_files_stay(tmp_path):
    (tmp_path / "events.out.tfevents.1.host.7").write_bytes(b"a run's own")
    for _ in range(3):
        view_in_tensorboard(tmp_path, b"png", 1, 1)
    assert (tmp_path / "events.out.tfevents.1.host.7").read_bytes() == b"a run's own"
    assert len(list(tmp_path.iterdir())) == 3


def test_names():
    def name(*words, **choices):
        return name_of(config_of(*words), {"dataset": "digits", "transform": "none", "aug": "mixup", **choices})

    assert name("aug=mixup", "aug.alpha=0.4") == "digits-none-mixup-a0.4"
    assert name("aug=mixup", "aug.alpha=0") == "digits-none-mixup-a0"
    assert name("aug=resizemix", aug="resizemix") == "digits-none-resizemix"
    folder = ("dataset=image_folder", "dataset.root='/data/my birds'", "aug=none")
    assert name(*folder, dataset="image_folder", aug="none") == "my-birds-none-none"
    assert name_of(config_of("aug=mixup"), {}) == "digits-notransform-mixup-a1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("out=sheet.jpg",), "out must be the name of a .png file, got sheet.jpg"),
        (("out=folder.png",), "out=folder.png is a directory; name a .png file in it"),
        (("out=file/sheet.png",), "cannot write file: File exists"),
        (("out=/proc/no/sheet.png",), "cannot write /proc/no: "),
        (("-m", "out=a.png", "seed=0,1"), "out names one file, so it cannot be combined with -m"),
        (("resume=folder.png",), "resume=folder.png: that is not a run directory"),
        (("aug=mixpu",), "aug has no option 'mixpu'; did you mean 'mixup'?"),
        (("oot=a.png",), "unknown key 'oot'; did you mean 'out'?"),
        (("aug=mixup", "aug.alpha=-1"), "aug.alpha must be"),
        (("hydra.run.dir=file/preview",), "cannot write file/preview: Not a directory"),
        (("trainer.batch_size=500",), "trainer.batch_size=500 is larger than the training split"),
    ],
)
def test_mistakes_get_one_sentence(run, tmp_path, few_draws, words, said):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    code, out, err = run("preview", *SMALL, *words)
    assert (code, out) == (2, "")
    assert err.startswith(f"mixup-lab preview: {said}")
    assert err.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"


def test_help_and_completion_know_it(run):
    assert "  preview  " in run("--help")[1]
    out = run("preview", "aug=mixup", "--help")[1]
    for text in ("usage: mixup-lab preview", "out=null", "FILE.png", "aug.alpha=1.0", "* digits"):
        assert text in out
    assert out.count("  mixup-lab preview ") == 3
    for line, word in (("prev", "preview"), ("preview ou", "out="), ("preview aug=mani", "aug=manifold_mixup")):
        assert [found.text for found in complete(f"mixup-lab {line}")] == [word]
    assert "aug.alpha=" in [found.text for found in complete("mixup-lab preview aug=mixup aug.")]


def test_the_composed_configuration_can_be_shown(run):
    code, out, _ = run("preview", "aug=mixup", "--cfg", "job")
    assert code == 0
    assert "alpha: 1.0" in out
    assert "device: cpu" in out
