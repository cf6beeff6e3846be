"""Audio: decoding, log-mel against references, sources and their mistakes, and a training that hears pitches."""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.command_line import in_this_process
from helpers.data_examples import prepared
from helpers.trainings import StopRequest, config_of
from PIL import Image
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mixup_lab.config.assemble import assemble, ingredients
from mixup_lab.data.source import Loaded
from mixup_lab.files.sound import cut_or_padded, decode, read, read_header
from mixup_lab.inputs.log_mel import LogMel, hertz_to_mel, mel_filters, mel_to_hertz
from mixup_lab.inputs.spectrograms import Spectrograms, coloured
from mixup_lab.models.audio_cnn import AudioCNN
from mixup_lab.models.preact_resnet import PreActResNet
from mixup_lab.models.small_cnn import SmallCNN
from mixup_lab.models.speech_lenet import SpeechLeNet
from mixup_lab.models.speech_vgg11 import SpeechVGG11
from mixup_lab.preview import shares
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.sources.audio_folder import AudioFolder
from mixup_lab.sources.speech_commands import SpeechCommands
from mixup_lab.training.fit import Fit
from mixup_lab.types import UserError

soundfile = pytest.importorskip("soundfile")

RATE = 8000


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def tone(hertz: float, seconds: float = 0.2, rate: int = RATE, level: float = 0.5) -> np.ndarray:
    return level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, wave: np.ndarray, rate: int = RATE, **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate, **how)
    return path


def folder(root: Path, splits: tuple[str, ...] = ("train",), count: int = 4) -> Path:
    """Two pitches, `count` clips of each in every split; the name says who sang it: a, b, c, ..."""
    for s, split in enumerate(splits):
        for name, hertz in (("high", 1500), ("low", 400)):
            for i in range(count):
                write(root / split / name / f"{'abcdefgh'[i]}_{i}.wav", tone(hertz + 20 * i + s, level=0.1 + 0.05 * i))
    return root


def load(root: Path, **arguments: Any) -> Loaded:
    return AudioFolder(str(root), **{"cache": False, **arguments}).load()


def loudest_hertz(wave: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))


# ---- decoding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [-1.0, -0.95])
def test_channels_that_cancel_out_are_one_of_them(tmp_path, other):
    wave = tone(440).astype(np.float32)
    found, _ = read(str(write(tmp_path / "x.wav", np.stack([wave * other, wave], axis=1), subtype="FLOAT")))
    assert (np.abs(found) == np.abs(wave)).all()
    even, _ = read(str(write(tmp_path / "y.wav", np.stack([wave * -0.5, wave], axis=1), subtype="FLOAT")))
    np.testing.assert_allclose(even, wave / 4, atol=1e-7)


def test_clips_without_train_with_other_endings_and_names(tmp_path, capsys):
    for label in ("high", "low"):
        for i, ending in enumerate(("wav", "aiff", "au", "caf")):
            write(tmp_path / label / f"{i}.{ending}", tone(400 + 10 * i))
        (tmp_path / label / "5.m4a").write_bytes(b"x")
    loaded = load(tmp_path)
    assert [name.partition("/")[2] for name in loaded.train.names] == ["0.wav", "1.aiff", "2.au", "3.caf"] * 2
    assert "2 files below" in (err := capsys.readouterr().err)
    assert "left out because of their ending: 2 .m4a" in err
    (tmp_path / "t").mkdir()
    rows = [("high\\0", "a", "train"), ("low/1", "b", "Train"), ("low/0.wav", "a", "valid"), ("../high/1", "b", "dev")]
    (tmp_path / "t/clips.csv").write_text("path,label,split\n" + "".join(",".join(row) + "\n" for row in rows))
    listed = load(tmp_path, csv="t/clips.csv", split_column="split")
    assert listed.train.names == ["high/0.wav", "low/1.aiff"]
    assert listed.val.names == ["low/0.wav", "high/1.aiff"]
    assert "4 audio files of" in (err := capsys.readouterr().err)
    assert "are not used, such as high/2.au: nothing that is read lists them\n" in err


@pytest.mark.parametrize(
    ("name", "how", "error"),
    [
        ("x.wav", {}, 1e-4),
        ("x.wav", {"subtype": "FLOAT"}, 1e-6),
        ("x.flac", {}, 1e-4),
        ("x.ogg", {}, 0.05),
        ("x.mp3", {}, 0.1),
    ],
)
def test_every_format_is_heard(tmp_path, name, how, error):
    wave = tone(440, 1.0)
    path = write(tmp_path / name, np.stack([wave, wave], axis=1), **how)
    found, rate = read(str(path))
    assert rate == RATE
    assert abs(len(found) - RATE) < 0.3 * RATE  # mp3 adds silence at both ends
    middle = len(found) // 2
    part = found[middle - 800 : middle + 800]
    assert loudest_hertz(part, RATE) == pytest.approx(440, abs=5)
    if len(found) == RATE:
        np.testing.assert_allclose(found[1000:-1000], wave[1000:-1000], atol=error)


def test_channels_are_averaged(tmp_path):
    left, right = tone(300), tone(900, level=0.2)
    path = write(tmp_path / "x.wav", np.stack([left, right], axis=1), subtype="FLOAT")
    np.testing.assert_allclose(read(str(path))[0], (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize(("own", "wanted"), [(16000, 8000), (8000, 16000), (11025, 8000)])
def test_resampling_keeps_pitch_and_level(tmp_path, own, wanted):
    path = write(tmp_path / "x.wav", tone(1000, 0.5, own), own, subtype="FLOAT")
    wave = decode(str(path), wanted, wanted // 2)
    assert wave.dtype == np.float32
    assert loudest_hertz(wave, wanted) == pytest.approx(1000, abs=4)
    np.testing.assert_allclose(wave[400:-400], tone(1000, 0.5, wanted)[400:-400], atol=0.01)


def test_longer_clips_lose_both_ends_and_shorter_ones_get_silence():
    wave = np.arange(1, 8, dtype=np.float32)
    assert cut_or_padded(wave, 3).tolist() == [3, 4, 5]
    assert cut_or_padded(wave, 4).tolist() == [2, 3, 4, 5]
    assert cut_or_padded(wave, 7).tolist() == wave.tolist()
    assert cut_or_padded(wave, 10).tolist() == [0, *wave.tolist(), 0, 0]


# ---- log-mel --------------------------------------------------------------------------------------------------------


def test_the_mel_scale_is_that_of_htk():
    np.testing.assert_allclose(hertz_to_mel(np.array([0, 1000, 8000])), [0, 999.9855, 2840.0230], atol=1e-4)
    np.testing.assert_allclose(mel_to_hertz(hertz_to_mel(np.array([0.0, 60, 3000]))), [0, 60, 3000], atol=1e-9)


def test_filters_are_triangles_between_their_neighbours():
    filters = mel_filters(16000, 512, 20)
    edges = [700 * (math.exp(k * math.log(1 + 8000 / 700) / 21) - 1) for k in range(22)]
    for m in range(20):
        for f in range(257):
            hertz = f * 16000 / 512
            if hertz <= edges[m] or hertz >= edges[m + 2]:
                height = 0.0
            elif hertz <= edges[m + 1]:
                height = (hertz - edges[m]) / (edges[m + 1] - edges[m])
            else:
                height = (edges[m + 2] - hertz) / (edges[m + 2] - edges[m + 1])
            assert filters[m, f] == pytest.approx(height, abs=1e-9)


@pytest.mark.parametrize("level", ["full_scale", "clip"])
@pytest.mark.parametrize(("rate", "n_fft", "hop", "n_mels"), [(8000, 256, 80, 40), (16000, 400, 160, 23)])
def test_log_mel_equals_scipy_and_loops(rate, n_fft, hop, n_mels, level):
    from scipy.signal import get_window

    wave = np.random.default_rng(0).normal(0, 0.05, 2000).astype(np.float32) + tone(900, 2000 / rate, rate, 0.3)
    window = get_window("hann", n_fft)
    padded = np.concatenate([np.zeros(n_fft // 2), wave, np.zeros(n_fft // 2)])
    filters, columns = mel_filters(rate, n_fft, n_mels), []
    for start in range(0, len(wave) + 1, hop):
        power = np.abs(np.fft.rfft(padded[start : start + n_fft] * window)) ** 2 / (window.sum() / 2) ** 2
        columns.append([float(band @ power) for band in filters])
    loudest = max(map(max, columns)) if level == "clip" else 1
    columns = [[10 * math.log10(max(value / loudest, 1e-8)) for value in column] for column in columns]
    log_mel = LogMel(rate, n_fft, hop, n_mels, -80.0, level)
    found = log_mel(wave)
    assert found.dtype == np.float16
    assert found.shape == (1, n_mels, log_mel.frames(2000)) == (1, n_mels, len(columns))
    np.testing.assert_allclose(found[0], np.array(columns).T, atol=0.032)  # what float16 leaves


def test_levels_are_below_a_tone_of_full_scale():
    log_mel = LogMel(RATE, 256, 80, 20, -60.0, "full_scale")
    peaks = mel_to_hertz(np.linspace(0, hertz_to_mel(np.array(4000)), 22))[1:-1]
    nearest = round(float(peaks[12]) * 256 / RATE) * RATE / 256
    full = log_mel(tone(nearest, level=1.0))[0, :, 10]
    assert int(full.argmax()) == 12
    assert float(full[12]) == pytest.approx(0, abs=2)
    quieter = log_mel(tone(nearest, level=0.1))[0, :, 10]
    assert float(full[12] - quieter[12]) == pytest.approx(20, abs=0.1)
    assert (log_mel(np.zeros(800, np.float32)) == -60).all()
    assert (log_mel(cut_or_padded(tone(1000, 0.05), 1600))[0, :, -3:] == -60).all(), "padding is the floor"


def test_levels_of_a_clip_are_below_its_own_loudest():
    log_mel = LogMel(RATE, 256, 80, 20, -60.0, "clip")
    loud = log_mel(cut_or_padded(tone(1000, level=1.0), 3200))
    assert float(loud.max()) == 0
    np.testing.assert_allclose(log_mel(cut_or_padded(tone(1000, level=0.01), 3200)), loud, atol=0.07)
    assert (log_mel(np.zeros(800, np.float32)) == -60).all()


def test_more_bands_than_frequencies_are_refused(tmp_path):
    said = r"dataset\.n_mels=128 is too many for n_fft=256 at 8000 Hz: \d+ of the bands hold no frequency"
    with pytest.raises(UserError, match=said):
        load(folder(tmp_path), n_mels=128)


# ---- sources --------------------------------------------------------------------------------------------------------


def test_a_folder_by_classes(tmp_path, capsys):
    loaded = load(folder(tmp_path, ("train", "val", "test")))
    assert loaded.kind.names == ("high", "low")
    assert loaded.train.names == [f"train/{c}/{'abcd'[i]}_{i}.wav" for c in ("high", "low") for i in range(4)]
    assert loaded.train.target.tolist() == [0] * 4 + [1] * 4
    assert loaded.train.shape == (1, 40, 21)
    assert loaded.val is not None
    assert loaded.test is not None
    for pool in (loaded.train, loaded.val, loaded.test):
        values = pool.load()
        assert values.shape == (8, *pool.shape)
        assert values.numel() * 2 == pool.nbytes
        assert all(torch.equal(pool.read(i), values[i]) for i in range(8)), "alone and among others: the same bits"
    high, low = (loaded.train.load()[rows].float().mean((0, 1, 3)).argmax() for rows in ([0], [4]))
    assert high > low
    assert loaded.train.groups is None
    assert "sample rates" not in capsys.readouterr().err


def test_streaming_equals_keeping_it(tmp_path):
    source = AudioFolder(str(folder(tmp_path, count=8)), cache=False)
    order = [np.array([3, 1, 0]), np.array([2, 5])]
    resident, streaming = (prepared(source, storage=kind, workers=2) for kind in ("resident", "streaming"))
    assert resident.encode.mean_db == streaming.encode.mean_db
    for a, b in zip(resident.train.batches(order), streaming.train.batches(order), strict=True):
        assert torch.equal(a.inputs, b.inputs)
        assert torch.equal(a.target, b.target)


def test_reading_a_clip_asks_nothing_of_mkl(tmp_path):
    # It computes torch's transforms and products, and in about one of 100 forked workers it waits for ever.
    pool = load(folder(tmp_path) and tmp_path).train
    called = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            called.append(str(func))
            return func(*args, **(kwargs or {}))

    with Watch():
        pool.read(0)
    assert "aten.lift_fresh.default" in called
    assert not [name for name in called if re.search("fft|mm|mv|dot|conv", name)]


def test_unequal_rates_and_lengths_are_said(tmp_path, capsys):
    folder(tmp_path)
    write(tmp_path / "train" / "low" / "x.wav", tone(400, 0.5, 16000), 16000)
    loaded = load(tmp_path)
    said = capsys.readouterr().err
    assert "has sample rates from 8000 to 16000 Hz: all files are resampled to 8000; dataset.sample_rate=N" in said
    assert "0.20 to 0.50 s long: longer ones are cut to their middle 0.38 s" in said  # the 95th percentile
    assert loaded.train.shape == (1, 40, 1 + 3040 // 80)
    band = loaded.train.load()[-1].float().mean((0, 2)).argmax()
    assert band == loaded.train.load()[4].float().mean((0, 2)).argmax(), "the same pitch at another rate"
    assert load(tmp_path, seconds=0.1, sample_rate=16000, hop=100, n_mels=12).train.shape == (1, 12, 17)


def test_classes_and_groups_in_names(tmp_path):
    for digit in range(3):
        for speaker in ("ann", "bob_b", "eve"):
            for i in range(4):
                write(tmp_path / f"{digit}_{speaker}_{i}.wav", tone(400 * (1 + digit)))
    loaded = load(tmp_path, label_pattern=r"^(\d)_", group_pattern=r"_(\w+)_\d+\.wav$")
    assert loaded.kind.names == ("0", "1", "2")
    speakers = np.array([name.split("_", 1)[1].rsplit("_", 1)[0] for name in loaded.train.names])
    assert loaded.train.groups is not None
    assert len({(speaker, group) for speaker, group in zip(speakers, loaded.train.groups.tolist(), strict=True)}) == 3
    data = prepared(
        AudioFolder(str(tmp_path), label_pattern=r"^(\d)_", group_pattern=r"_(\w+)_\d+\.wav$", cache=False),
        val_fraction=0.4,
        test_fraction=0.3,
    )
    kept = [set(speakers[split.ids]) for split in (data.train, data.val, data.test)]
    assert sorted(map(len, kept)) == [1, 1, 1]
    assert set.union(*kept) == set(speakers)


def test_names_below_given_splits(tmp_path):
    for split in ("train", "test"):
        for k in range(4):
            write(tmp_path / split / f"{k % 2}-{k}.wav", tone(500))
    loaded = load(tmp_path, label_pattern=r"(\d)-")
    assert loaded.train.names == ["train/0-0.wav", "train/0-2.wav", "train/1-1.wav", "train/1-3.wav"]
    assert loaded.train.target.tolist() == [0, 0, 1, 1]
    assert loaded.val is None
    assert loaded.test is not None


def table(root: Path, *lines: str) -> Path:
    for i in range(6):
        write(root / "clips" / f"{i}.wav", tone(300 + 200 * i))
    (root / "list.csv").write_text("\n".join(lines) + "\n")
    return root


ROWS = [f"clips/{i}.wav,{'ab'[i % 2]},{'train' if i < 4 else 'test'},s{i // 2}" for i in range(6)]


def test_a_table(tmp_path, capsys):
    table(tmp_path, "path,label,split,who", *ROWS)
    loaded = load(tmp_path, csv="list.csv", split_column="split", group_column="who")
    assert loaded.train.names == [f"clips/{i}.wav" for i in range(4)]
    assert loaded.train.target.tolist() == [0, 1, 0, 1]
    assert loaded.train.groups is not None
    assert loaded.train.groups.tolist() == ["0", "0", "1", "1"]
    assert loaded.test is not None
    assert loaded.test.names == ["clips/4.wav", "clips/5.wav"]
    by_name = load(tmp_path, csv="list.csv", split_column="split", group_pattern=r"(\d)\.wav")
    assert by_name.train.groups is not None
    assert by_name.train.groups.tolist() == ["0", "1", "2", "3"]
    assert "groups" not in capsys.readouterr().err
    table(tmp_path, "path,label,split,who", *ROWS[:5], ROWS[5].replace("s2", "s1"))
    source = AudioFolder(str(tmp_path), csv="list.csv", split_column="split", group_column="who", cache=False)
    prepared(source, seed=1)
    assert "1 group has examples in train and in test: they flatter every arm" in capsys.readouterr().err


def test_rows_without_a_class_are_counted(tmp_path, capsys):
    table(tmp_path, "path,label", *(row.rsplit(",", 2)[0] for row in ROWS[:5]), "clips/5.wav,")
    assert load(tmp_path, csv="list.csv", on_error="skip").dropped == 1
    assert "1 of 6 rows" in capsys.readouterr().err


def test_speech_commands(tmp_path, capsys):
    for word in ("yes", "no", "_background_noise_"):
        for i in range(6):
            write(tmp_path / word / f"{i}_nohash_0.wav", tone(500, 0.5, 16000), 16000)
    (tmp_path / "validation_list.txt").write_text("yes/0_nohash_0.wav\nno/0_nohash_0.wav\n")
    (tmp_path / "testing_list.txt").write_text("no/1_nohash_0.wav\nyes/1_nohash_0.wav\ncat/1_nohash_0.wav\n")
    loaded = SpeechCommands(str(tmp_path), cache=False).load()
    assert loaded.kind.names == ("no", "yes")
    assert loaded.train.names == [f"{word}/{i}_nohash_0.wav" for word in ("no", "yes") for i in range(2, 6)]
    assert loaded.val is not None
    assert loaded.test is not None
    assert loaded.val.names == ["no/0_nohash_0.wav", "yes/0_nohash_0.wav"]
    assert loaded.test.names == ["no/1_nohash_0.wav", "yes/1_nohash_0.wav"]
    assert loaded.train.groups.tolist() == ["2", "3", "4", "5"] * 2
    assert loaded.test.groups.tolist() == ["1", "1"]
    assert loaded.train.shape == (1, 40, 101)
    assert "1 of 3 entries of testing_list.txt are left out: their words have no folder" in capsys.readouterr().err
    (tmp_path / "testing_list.txt").write_text("no/9_nohash_0.wav\n")
    with pytest.raises(UserError, match=r"testing_list.txt lists no/9_nohash_0.wav, which does not exist"):
        SpeechCommands(str(tmp_path), cache=False).load()
    (tmp_path / "testing_list.txt").unlink()
    with pytest.raises(UserError, match=r"has no testing_list.txt; unpack http"):
        SpeechCommands(str(tmp_path), cache=False).load()


# ---- what must not leak, and what is kept ---------------------------------------------------------------------------


def test_the_encoder_knows_train_alone(tmp_path):
    """val and test are poisoned with noise, and nothing that train gives changes."""
    folder(tmp_path, ("train", "val", "test"))
    before = prepared(AudioFolder(str(tmp_path), cache=False))
    noise = np.random.default_rng(0).uniform(-1, 1, 1600)
    for path in [*tmp_path.glob("val/*/*.wav"), *tmp_path.glob("test/*/*.wav")]:
        write(path, noise)
    after = prepared(AudioFolder(str(tmp_path), cache=False))
    rows = [np.arange(8)]
    (a,), (b,) = (list(data.train.batches(rows)) for data in (before, after))
    assert torch.equal(before.encode(a.inputs), after.encode(b.inputs))
    assert (before.encode.draw(a.inputs, 64) == after.encode.draw(b.inputs, 64)).all()
    (a,), (b,) = (list(data.test.batches(rows)) for data in (before, after))
    assert not torch.equal(before.encode(a.inputs), after.encode(b.inputs))


def test_the_encoder_is_fitted_to_the_rows_of_the_split(tmp_path):
    loaded = load(folder(tmp_path, count=8))
    assert loaded.fit is not None
    rows = np.array([0, 3, 9])
    encoder = loaded.fit(rows).encoder
    values = loaded.train.load()[rows].double()
    assert isinstance(encoder, Spectrograms)
    assert encoder.mean_db == pytest.approx(float(values.mean()), abs=1e-6)
    assert encoder.std_db == pytest.approx(float(values.std(correction=0)), abs=1e-6)
    encoded = encoder(loaded.train.load()[rows])
    assert encoded.dtype == torch.float32
    assert float(encoded.mean()) == pytest.approx(0, abs=1e-5)
    assert float(encoded.std(correction=0)) == pytest.approx(1, abs=1e-5)
    assert encoder.shape == loaded.train.shape


def test_what_does_not_fit_in_memory_is_sampled(tmp_path, monkeypatch):
    from mixup_lab.sources import audio_source as audio_encoder

    loaded = load(folder(tmp_path, count=8))
    assert loaded.fit is not None
    monkeypatch.setattr(audio_encoder, "free_bytes", lambda device: 0)
    monkeypatch.setattr(audio_encoder, "SAMPLE", 4)
    encoder = loaded.fit(np.arange(16)).encoder
    values = loaded.train.load()[[0, 5, 10, 15]].double()
    assert isinstance(encoder, Spectrograms)
    assert encoder.mean_db == pytest.approx(float(values.mean()), abs=1e-6)


def test_the_second_start_reads_what_the_first_kept(tmp_path):
    root, kept = folder(tmp_path / "sounds"), tmp_path / "kept"
    first = load(root, cache=True, cache_dir=str(kept)).train.load()
    path = root / "train" / "low" / "a_0.wav"
    times = path.stat().st_mtime_ns
    os.utime(path, ns=(times, times))
    data = bytearray(path.read_bytes())
    data[100:] = bytes(len(data) - 100)  # silence, of the same size and time: nobody should look
    path.write_bytes(data)
    os.utime(path, ns=(times, times))
    assert torch.equal(load(root, cache=True, cache_dir=str(kept)).train.load(), first)
    assert not torch.equal(load(root, cache=True, cache_dir=str(kept), floor=-70.0).train.load(), first)
    os.utime(path, ns=(times + 10**9, times + 10**9))
    assert not torch.equal(load(root, cache=True, cache_dir=str(kept)).train.load(), first)


class Counted(TorchFunctionMode):
    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_encoding_is_three_operations_and_leaves_the_batch():
    encoder, inputs = Spectrograms((1, 40, 68), -50.0, 16.0, -80.0, 0.0), torch.full((7, 1, 40, 68), -34.0).half()
    encoder = encoder.to(torch.device("cpu"))
    with Counted() as counted:
        out = encoder(inputs)
    assert counted.count <= 3
    assert (out == 1).all()
    assert (inputs == -34).all()


# ---- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sample_rate": 16}, "dataset.sample_rate=16 must be null or >= 1000"),
        ({"seconds": 0.0}, "dataset.seconds=0.0 must be null or greater than 0"),
        ({"n_mels": 0}, "dataset.n_mels=0 must be >= 1"),
        ({"n_fft": 64, "hop": 65, "n_mels": 4}, r"dataset.hop=65 must be at most dataset.n_fft \(64\)"),
        ({"floor": 0.0}, "dataset.floor=0.0 must be a level below 0 dB"),
        ({"level": "loud"}, "dataset.level=loud must be one of clip, full_scale"),
        ({"on_error": "ignore"}, "dataset.on_error=ignore must be one of raise, skip"),
        ({"root": ""}, "dataset.root has no value"),
        ({"csv": "a.csv", "label_pattern": "(x)"}, "dataset.csv and dataset.label_pattern both set the classes"),
        ({"csv": "a.csv"}, "dataset.csv=.*a.csv does not exist"),
        ({"group_column": "who"}, "dataset.group_column is for a table"),
        ({"label_pattern": "(x"}, r"dataset.label_pattern=\(x is not a regular expression: "),
        ({"label_pattern": "x"}, "dataset.label_pattern=x must have one group in parentheses, it has 0"),
        ({"label_pattern": "(x)"}, r"dataset.label_pattern=\(x\) does not match the path train/high/a_0.wav"),
        ({"group_pattern": "(z)"}, r"dataset.group_pattern=\(z\) does not match the path train/high/a_0.wav"),
        ({"label_pattern": "([a])_0"}, r"dataset.label_pattern=.* does not match the path train/high/b_1.wav"),
        ({"label_pattern": "(train)"}, "must have at least 2 classes in train, it has only train"),
    ],
)
def test_arguments_that_cannot_be(tmp_path, arguments, said):
    folder(tmp_path)
    with pytest.raises(UserError, match=said):
        load(**{"root": tmp_path, **arguments})


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["file,label", "clips/0.wav,a"], "dataset.path_column=path is not a column of .*; it has file, label"),
        (["path,class", "clips/0.wav,a"], "dataset.label_column=label is not a column of .*; it has path, class"),
        (["path,label,label", "clips/0.wav,a,b"], "has two columns named label"),
        (["path,label", "clips/0.wav,a", "clips/1.wav,"], "list.csv, line 3: label is empty"),
        (["path,label", "clips/0.wav,a", ",b"], "list.csv, line 3: path is empty; dataset.on_error=skip leaves it out"),
        (["path,label", "clips/0.wav,a", "clips/0.wav,b"], "line 3: clips/0.wav is already in line 2"),
        (
            ["path,label", "clips/0.wav,a", "clips/x.wav,b"],
            r"clips/x.wav cannot be read as audio \(it does not exist\)",
        ),
        (["path,label", "clips/0.wav,a", r"clips\0.wav,b"], r"line 3: clips\\0.wav is already in line 2"),
        (["path,label", "clips/0.wav,a", "clips/1.wav,a"], "must have at least 2 classes in train, it has only a"),
        (["path,label"], "has no rows"),
    ],
)
def test_tables_that_cannot_be(tmp_path, lines, said):
    table(tmp_path, *lines)
    with pytest.raises(UserError, match=said):
        load(tmp_path, csv="list.csv")


def test_a_class_and_a_split_that_train_lacks(tmp_path):
    rows = [row.replace(",a,test", ",c,test") for row in ROWS]
    table(tmp_path, "path,label,split,who", *rows)
    with pytest.raises(UserError, match=r"list.csv, line 6 is in test with class c, which has no clip in train"):
        load(tmp_path, csv="list.csv", split_column="split")
    table(tmp_path, "path,label,split,who", *(row.replace(",test,", ",holdout,") for row in ROWS))
    with pytest.raises(UserError, match=r"line 6: split must be one of train, .*, testing, found holdout"):
        load(tmp_path, csv="list.csv", split_column="split")
    folder(tmp_path, ("train", "test"))
    write(tmp_path / "test" / "other" / "x.wav", tone(100))
    with pytest.raises(UserError, match=r"test/other is not a class of train \(high, low\)"):
        load(tmp_path)


def spoil(path: Path, how: str) -> None:
    if how == "zero":
        write(path, np.zeros(0))
    elif how == "text":
        path.write_bytes(b"this is no sound")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        write(path, np.array([0.1, np.nan, 0.2]), subtype="FLOAT")


def changed(whole: bytes, place: int, number: int) -> bytes:
    return whole[:place] + struct.pack("<I", number) + whole[place + 4 :]


HEADERS = {  # what is done to a WAV of 800 samples, 44 + 1600 bytes; what is said, or None if it is read whole
    "cut": (lambda whole: whole[:1000], "is cut short: its header announces 1600 bytes of sound, it has 956"),
    "too much": (lambda whole: changed(whole, 40, 3200), "announces 3200 bytes of sound, it has 1600"),
    "too little": (lambda whole: changed(whole, 40, 800), "has a wrong header: it ends the sound after 844 of 1644"),
    "never closed": (lambda whole: changed(whole, 40, 0), "has a wrong header: it ends the sound after 44 of 1644"),
    "1 Hz": (lambda whole: changed(whole, 24, 1), "has the sample rate 1 Hz, which must be from 1000 to 1000000"),
    "stream": (lambda whole: changed(changed(whole, 4, 2**32 - 1), 40, 2**32 - 1), None),
    "the header counted": (lambda whole: changed(whole, 40, 1644), None),
    "other size of the file": (lambda whole: changed(whole, 4, 99), None),
    "a remark": (lambda whole: changed(whole, 4, 1650) + b"LIST\x06\0\0\0INFOab", None),
    "a tag": (lambda whole: whole + b"\xff\xfe\0\1\x20\0\0\0" + bytes(32), None),
}


@pytest.mark.parametrize("case", HEADERS)
def test_headers_that_announce_another_length(tmp_path, case):
    change, said = HEADERS[case]
    path = write(tmp_path / "x.wav", tone(440, 0.1))
    whole, expected = path.read_bytes(), read(str(path))[0]
    assert len(whole) == 1644
    path.write_bytes(change(whole))
    if said:
        with pytest.raises(UserError, match=f"^{re.escape(str(path))} .*{re.escape(said)}"):
            read_header(str(path))
    else:
        assert read_header(str(path)) == (RATE, 800)
        assert (read(str(path))[0] == expected).all()


@pytest.mark.parametrize("ending", ["aiff", "au", "w64", "flac", "mp3", "ogg"])
def test_sounds_that_are_cut_short(tmp_path, ending):
    path = write(tmp_path / f"x.{ending}", tone(440, 0.5))
    assert read_header(str(path), thorough=True).samples == 4000
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    with pytest.raises(UserError, match=r"is cut short: its header announces \d+|cannot be read as audio"):
        read_header(str(path), thorough=True)


@pytest.mark.parametrize("subtype", ["PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_values_of_more_bits_are_those_of_the_wave(tmp_path, subtype):
    wave = tone(440)
    found, rate = read(str(write(tmp_path / "x.wav", wave, 44_100, subtype=subtype)))
    assert (rate, np.abs(found - wave).max() < 2**-22) == (44_100, True)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("zero", "holds no sound (0 samples)"),
        ("text", "cannot be read as audio (Format not recognised; it is a text that begins with 'this is no sound')"),
        ("empty", "cannot be read as audio (it is empty)"),
        ("nan", "holds values that are not finite"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, capsys, how, said):
    folder(tmp_path, ("train", "test"))
    path = tmp_path / "train" / "low" / "b_1.wav"
    spoil(path, how)
    with pytest.raises(UserError) as raised:
        load(tmp_path, seconds=0.2).train.load()
    assert str(raised.value).startswith(f"{path} {said}")
    assert str(raised.value).endswith("; dataset.on_error=skip leaves it out")
    loaded = load(tmp_path, on_error="skip", group_pattern=r"/(\w)_\d")
    assert loaded.dropped == 1
    assert "1 of 16 audio files in" in capsys.readouterr().err
    assert len(loaded.train.load()) == len(loaded.train.target) == 7
    assert loaded.train.groups is not None
    assert loaded.train.groups.tolist() == [*"abcdacd"]
    for other in path.parent.iterdir():
        spoil(other, how)
    with pytest.raises(UserError, match="has no file of class low in train that can be read"):
        load(tmp_path, on_error="skip")


def test_without_soundfile_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match=r"dataset.root=.* needs soundfile: pip install 'mixup-lab\[audio\]'"):
        load(tmp_path)


# ---- pictures -------------------------------------------------------------------------------------------------------


def test_low_bands_are_drawn_at_the_bottom_and_loud_ones_light(tmp_path):
    loaded = load(folder(tmp_path), level="full_scale")
    assert loaded.fit is not None
    encoder = loaded.fit(np.arange(8)).encoder
    assert encoder is not None
    tiles = encoder.draw(encoder(loaded.train.load()), 80)
    assert tiles.shape == (8, 80, 80, 3)
    assert tiles.dtype == np.uint8
    brightness = tiles.astype(float).sum(3).mean(2)  # (8, rows)
    band = loaded.train.load().float().mean((1, 3)).argmax(1).numpy()
    np.testing.assert_allclose(79 - brightness.argmax(1), 2 * band + 0.5, atol=1)
    assert brightness[3].max() > brightness[0].max(), "the louder one"
    mixed = encoder.draw(0.5 * encoder(loaded.train.load()[:1]) + 0.5 * encoder(loaded.train.load()[4:5]), 80)
    assert mixed.shape == (1, 80, 80, 3)


def test_the_colours_are_those_of_magma():
    from matplotlib import colormaps

    level = np.linspace(0, 1, 256)
    wanted = colormaps["magma"](level)[:, :3] * 255
    assert abs(coloured(level) - wanted).max() < 4
    luminance = coloured(level) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.8).all()


# ---- models ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "arguments"),
    [(AudioCNN, {}), (SpeechLeNet, {}), (SpeechVGG11, {"width": 4}), (SmallCNN, {}), (PreActResNet, {"width": 4})],
)
@pytest.mark.parametrize("shape", [(1, 40, 68), (1, 64, 101)])
def test_models_take_spectrograms(model, arguments, shape):
    torch.manual_seed(0)
    made = model(input_shape=shape, num_outputs=5, **arguments).eval()
    assert made(torch.randn(2, *shape)).shape == (2, 5)
    assert all(made.get_submodule(name) is not None for name in made.mixup_layers)


def test_numbers_of_parameters():
    def count(model, shape, outputs):
        with torch.device("meta"):
            return sum(p.numel() for p in model(input_shape=shape, num_outputs=outputs).parameters())

    stages = sum(9 * a * b + 2 * b for a, b in ((1, 16), (16, 32), (32, 64)))
    assert count(AudioCNN, (1, 40, 68), 10) == stages + 64 * 5 * 10 + 10 == 26_618
    fc = 20 * 37 * 22  # what GCommandsPytorch has for (1, 161, 101)
    lenet = 26 * 20 + (25 * 20 + 1) * 20 + (fc + 1) * 1000 + 1001 * 30
    assert count(SpeechLeNet, (1, 161, 101), 30) == lenet == 16_321_570
    channels = (1, 64, 128, 256, 256, 512, 512, 512, 512)
    convolutions = sum(9 * a * b + 2 * b for a, b in pairwise(channels))
    assert count(SpeechVGG11, (1, 161, 101), 30) == convolutions + 7681 * 512 + 513 * 30 == 13_170_142


def test_audio_cnn_forgets_when_but_not_at_which_frequency():
    torch.manual_seed(0)
    model = AudioCNN(input_shape=(1, 32, 64), num_outputs=4).eval()
    spot = torch.zeros(3, 1, 32, 64)
    spot[0, 0, 16, 16] = spot[1, 0, 16, 40] = spot[2, 0, 8, 16] = 5  # later; lower
    here, later, lower = model(spot)
    torch.testing.assert_close(here, later, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(here, lower, atol=1e-3)


def test_audio_cnn_takes_the_mean_over_time_of_each_band():
    torch.manual_seed(0)
    model = AudioCNN(input_shape=(1, 43, 101), num_outputs=4).eval()
    assert [name for name, _ in model.named_parameters()][-2:] == ["head.3.weight", "head.3.bias"]
    sounds = torch.randn(3, 1, 43, 101)
    means = model.stages(sounds).detach().double().mean(3).flatten(1)
    weight, bias = model.head[3].weight.double(), model.head[3].bias.double()
    torch.testing.assert_close(model(sounds).double(), means @ weight.T + bias, atol=1e-6, rtol=1e-6)


# ---- whole runs -----------------------------------------------------------------------------------------------------


def songs(root: Path, shuffled: bool = False) -> Path:
    """Three pitches at any level and time, in noise: nothing but the pitch tells the class."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 72), ("test", 36)):
        classes = np.arange(count) % 3
        named = rng.permutation(classes) if shuffled and split == "train" else classes
        for i in range(count):
            hertz = (400, 700, 1200)[classes[i]] * rng.uniform(0.97, 1.03)
            wave = np.zeros(1600)
            wave[(start := rng.integers(0, 800)) : start + 800] = tone(hertz, 0.1, level=rng.uniform(0.02, 0.5))
            write(root / split / str(named[i]) / f"{i}.wav", wave + rng.normal(0, 1e-3, 1600))
    return root


WORDS = ("dataset=audio_folder", "dataset.cache=false", "dataset.n_mels=24", "model=audio_cnn", "model.width=8",
         "trainer.batch_size=16", "trainer.device=cpu", "trainer.malloc=default", "optimizer.lr=0.05")  # fmt: skip


def trained(run, root: Path, *words: str) -> dict[str, float]:
    code, _, err = run("train", *WORDS, f"dataset.root={root}", "trainer.epochs=6", "hydra.run.dir=run", *words)
    assert code == 0, err
    scalars: dict[str, float] = json.loads((root.parent / "run" / "summary.json").read_text())["scalars"]
    return scalars


@pytest.mark.parametrize("aug", ["mixup", "cutmix", "fmix", "manifold_mixup"])
def test_it_learns_to_hear(run, tmp_path, aug):
    assert trained(run, songs(tmp_path / "songs"), f"aug={aug}")["test/accuracy"] > 0.85


def test_it_does_not_learn_what_is_not_there(run, tmp_path):
    assert trained(run, songs(tmp_path / "songs", shuffled=True), "aug=none")["test/accuracy"] < 0.65


def test_frequencies_matter_and_their_order(tmp_path):
    """Turned upside down at the test, the same spectrograms are not understood."""
    words = (*WORDS, f"dataset.root={songs(tmp_path / 'songs')}", "trainer.epochs=6", "aug=mixup", "aug.alpha=0.2")
    fit = Fit(assemble(config_of(*words), ""), tmp_path / "run")
    log = RunLog(Record(tmp_path / "run"), TensorBoardView(tmp_path / "run"), ProgressView())
    fit.run(log, StopRequest())
    log.board.close()
    log.record.close()
    data, model = fit.parts.data, fit.parts.model.eval()
    (batch,) = data.test.batches([np.arange(len(data.test))])
    inputs = data.encode(batch.inputs)
    right = [float((model(x).argmax(1) == batch.target).float().mean()) for x in (inputs, inputs.flip(2))]
    assert right[0] > 0.85
    assert right[1] < 0.6


@pytest.mark.parametrize("option", ["crop_flip", "randaugment", "random_erasing"])
def test_transforms_of_pictures_are_refused(tmp_path, option):
    config = config_of(*WORDS, f"dataset.root={folder(tmp_path)}", f"transform={option}", "dataset.val_fraction=0.3")
    with pytest.raises(
        UserError, match=r"transform: .* changes pictures, and the examples are sounds; use transform=none"
    ):
        ingredients(config)


def test_mean_and_std_of_pictures_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"dataset.mean and dataset.std are for pictures"):
        prepared(AudioFolder(str(folder(tmp_path)), cache=False), mean=[0.5])


def test_the_preview_draws_spectrograms(run, tmp_path, monkeypatch):
    monkeypatch.setattr(shares, "DRAWS", 64)
    root = songs(tmp_path / "songs")
    code, out, err = run("preview", *WORDS, f"dataset.root={root}", "aug=mixup", "out=sheet.png")
    assert (code, out) == (0, "sheet.png\n"), err
    with Image.open(tmp_path / "sheet.png") as picture:
        pixels = np.asarray(picture.convert("RGB"))
    palette = {tuple(colour) for colour in coloured(np.linspace(0, 1, 4096)).tolist()}
    drawn = [tuple(colour) in palette for colour in pixels.reshape(-1, 3)[::50].tolist()]
    assert np.mean(drawn) > 0.25
