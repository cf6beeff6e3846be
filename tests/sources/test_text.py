"""Texts: from files to tokens, batches of similar lengths, models that padding does not change, mixing inside."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.data_examples import prepared
from helpers.trainings import CONF, StopAfter, Training, config_of
from torch import Tensor

from mixup_lab.config.assemble import assemble, ingredients
from mixup_lab.config.build import build
from mixup_lab.inputs.bpe import BPE, END, characters, learn
from mixup_lab.inputs.tokens import Tokens
from mixup_lab.inputs.vocabulary import cut, learn_vocabulary, spelt
from mixup_lab.mixing import KFoldMixup, ManifoldMixup, Mixup, RegMixup
from mixup_lab.mixing.mixer import Bound, Request, at_step, upload
from mixup_lab.models.bilstm import BiLSTM, backwards
from mixup_lab.models.text_cnn import TextCNN
from mixup_lab.models.text_transformer import TextTransformer
from mixup_lab.preview.examples import Beginning
from mixup_lab.preview.sheet import Title, draw_sheet
from mixup_lab.runs.log import RunLog
from mixup_lab.runs.progress import ProgressView
from mixup_lab.runs.record import Record, read_epochs
from mixup_lab.runs.tensorboard import TensorBoardView
from mixup_lab.seeding import stream
from mixup_lab.sources.text_table import TextTable
from mixup_lab.targets.classes import Classes, Classification
from mixup_lab.training.batches import SORTED, alike
from mixup_lab.training.fit import Fit
from mixup_lab.training.pictures import mixed_sheet
from mixup_lab.types import Batch, Interrupted, Labels, UserError

VOCABULARY, LENGTH, CLASSES = 30, 12, 3
MODELS = {
    "text_cnn": lambda: TextCNN(
        input_shape=(LENGTH,), num_outputs=CLASSES, num_tokens=VOCABULARY, embedding_dim=7, channels=5
    ),
    "bilstm": lambda: BiLSTM(
        input_shape=(LENGTH,), num_outputs=CLASSES, num_tokens=VOCABULARY, embedding_dim=7, hidden=5
    ),
    "text_transformer": lambda: TextTransformer(
        input_shape=(LENGTH,), num_outputs=CLASSES, num_tokens=VOCABULARY, width=8, heads=2
    ),
}
TINY_MODEL = ("model=text_cnn", "model.embedding_dim=8", "model.channels=8", "model.widths=[2,3]")
TEXT = (*TINY_MODEL, "dataset=text_table", "optimizer=adam", "optimizer.lr=0.01", "trainer.batch_size=16",
        "trainer.progress=none", "trainer.malloc=default", "trainer.device=cpu", "trainer.epochs=3")  # fmt: skip
losses = Classification(CLASSES).loss


def sentences(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts of 3 to 20 words. A `good` one says good more often than bad, in words of its own about other things."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        words = [f"w{rng.integers(40)}" for _ in range(int(rng.integers(2, 16)))]
        own = ("good", "fine") if i % 2 else ("bad", "poor")
        for _ in range(2):
            words.insert(int(rng.integers(len(words) + 1)), own[rng.integers(2)])
        found.append((" ".join(words), "good" if i % 2 else "bad"))
    return found


def write(path: Path, rows: list[tuple[str, str]], delimiter: str = ",", header: bool = True) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("text", "label"), *rows] if header else rows)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """train, val and test of generated sentences."""
    (tmp_path / "texts").mkdir()
    for seed, (name, count) in enumerate({"train": 160, "val": 60, "test": 80}.items()):
        write(tmp_path / "texts" / f"{name}.csv", sentences(count, seed))
    return tmp_path / "texts"


# ---- words and parts of words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's GOOD, isn't it?", ["it's", "good", ",", "isn't", "it", "?"]),
        ("a well-made film ... it 's fun", ["a", "well-made", "film", ".", ".", ".", "it", "'s", "fun"]),
        ("“Café”  naïve\tété\n", ["“", "café", "”", "naïve", "été"]),
        ("Cafe\u0301", ["café"]),  # two characters that mean one
        ("   ", []),
    ],
)
def test_words(text, words):
    assert cut(text, "words", True) == words
    assert cut(text, "spaces", False) == text.replace("e\u0301", "é").split()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("फिल्म अच्छी है, really", ["फिल्म", "अच्छी", "है", ",", "really"]),  # vowels and joined consonants are marks
        ("می\u200cخواهم!", ["می\u200cخواهم", "!"]),  # joined without a space
        ("İSTANBUL'DA", ["i\u0307stanbul'da"]),
        ("这部电影很好。USB接口", ["这", "部", "电", "影", "很", "好", "。", "usb", "接", "口"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("한국어 좋다 ❤\ufe0f", ["한국어", "좋다", "❤\ufe0f"]),
    ],
)
def test_words_of_other_scripts(text, words):
    assert cut(text, "words", True) == words
    assert cut(text, "spaces", True) == text.lower().split()


def test_parts_of_words_may_have_several_characters_of_scripts_without_spaces():
    assert cut("电影很好。USB", "bpe", True) == ["电影很好", "。", "usb"]


def naive_merges(words: dict[str, int], count: int, least: int) -> list[tuple[str, str]]:
    """Algorithm 1 of Sennrich et al. (2016) word for word: all pairs counted again for each merge."""
    spellings = {" ".join([*word[:-1], word[-1] + END]): n for word, n in words.items()}
    merges = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for spelling, n in spellings.items():
            symbols = spelling.split()
            for i in range(len(symbols) - 1):
                pairs[symbols[i], symbols[i + 1]] += n
        if not pairs or max(pairs.values()) < least:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        bigram = re.compile(r"(?<!\S)" + re.escape(" ".join(best)) + r"(?!\S)")
        spellings = {bigram.sub("".join(best).replace("\\", r"\\"), spelling): n for spelling, n in spellings.items()}
    return merges


@pytest.mark.parametrize("seed", range(6))
def test_bpe_against_the_algorithm_word_for_word(seed):
    rng = np.random.default_rng(seed)
    words = {"".join(rng.choice(list("abc"), rng.integers(1, 8))): int(rng.integers(1, 9)) for _ in range(60)}
    assert learn(words, 40, 3) == list(dict.fromkeys(naive_merges(words, 40, 3)))
    few = learn(words, 12, 3)
    assert few == naive_merges(words, 12, 3)[: len(few)]


def test_bpe_of_the_paper():
    """The dictionary of the paper's section 3.2: `lower`, which it does not hold, becomes low and er."""
    merges = learn({"low": 5, "lowest": 2, "newer": 6, "wider": 3}, 30)
    assert merges[:2] == [("e", "r" + END), ("l", "o")]
    encode = BPE(merges)
    assert encode("lower") == ("low", "er" + END)
    assert "".join(encode("newest")) == "newest" + END


def test_bpe_encodes_by_the_order_of_the_merges():
    rng = np.random.default_rng(1)
    words = {"".join(rng.choice(list("abcd"), rng.integers(1, 8))): int(rng.integers(1, 9)) for _ in range(50)}
    merges = learn(words, 30)
    for word in [*words, "dddd", "abcdabcd"]:
        symbols = list(characters(word))
        for left, right in merges:  # one after the other over the whole word
            i = 0
            while i < len(symbols) - 1:
                if (symbols[i], symbols[i + 1]) == (left, right):
                    symbols[i : i + 2] = [left + right]
                i += 1
        assert "".join(BPE(merges)(word)) == word + END
        assert len(BPE(merges)(word)) == len(symbols)


def test_vocabulary_of_words():
    texts = [["b", "a", "b"], ["c", "a", "b", "d"]]
    vocabulary = learn_vocabulary(texts, "words", None, 1)
    assert vocabulary.names[2:] == ("b", "a", "c", "d")
    assert vocabulary.encode([["a", "x", "b"], []]) == [[3, 1, 2], []]
    assert learn_vocabulary(texts, "words", 4, 1).names[2:] == ("b", "a")
    assert learn_vocabulary(texts, "words", None, 2).names[2:] == ("b", "a")


def test_vocabulary_of_bpe_spells_every_text_of_known_characters():
    texts = [text.split() for text, _ in sentences(30)]
    vocabulary = learn_vocabulary(texts, "bpe", 40, 1)
    assert len(vocabulary.names) == 40
    for words, ids in zip(texts, vocabulary.encode(texts), strict=True):
        assert spelt(vocabulary.names[i] for i in ids) == " ".join(words)
        assert 1 not in ids
    assert 1 in vocabulary.encode([["ß"]])[0]


# ---- files ---------------------------------------------------------------------------------------------------------


def test_a_file_with_commas_quotes_and_lines_in_a_text(tmp_path):
    rows = [('said "no", twice', "x"), ("two\nlines", "y"), ("plain", "x"), ("more", "y")] * 6
    loaded = TextTable(str(write(tmp_path / "all.csv", rows))).load()
    assert loaded.kind.names == ("x", "y")
    assert (loaded.val, loaded.test) == (None, None)
    assert loaded.train.target.tolist() == [0, 1, 0, 1] * 6
    fitted = loaded.fit(np.arange(24))
    assert fitted.encoder.draw(torch.from_numpy(fitted.train.inputs[:2]), 96).shape == (2, 96, 96, 3)
    words = [spelt(fitted.encoder.names[i] for i in row if i) for row in fitted.train.inputs[:2].tolist()]
    assert words == ['said " no " , twice', "two lines"]


def test_tabs_leave_quotation_marks_alone_and_dev_is_val(tmp_path):
    for name in ("train", "dev", "test"):
        (tmp_path / f"{name}.tsv").write_text("label\ttext\n" + '0\t" so it begins\n10\tand ends "\n2\tb\n' * 2)
    loaded = TextTable(str(tmp_path)).load()
    assert loaded.kind.names == ("0", "2", "10")
    assert [len(pool.target) for pool in (loaded.train, loaded.val, loaded.test)] == [6, 6, 6]
    assert loaded.train.target.tolist() == [0, 2, 1] * 2


@pytest.mark.parametrize("ending", ["tsv", "txt"])
def test_tabs_go_before_commas_in_files_of_texts(tmp_path, ending):
    (tmp_path / f"all.{ending}").write_text("text\tlabel, short\n" + "well, yes\tx\nno, never\ty\n" * 4)
    loaded = TextTable(str(tmp_path / f"all.{ending}"), label_column="label, short").load()
    assert loaded.kind.names == ("x", "y")


def test_a_text_may_be_as_long_as_a_book(tmp_path):
    path = write(tmp_path / "all.csv", [("word " * 60_000, "x"), ("short", "y")] * 2)
    assert len(TextTable(str(path)).load().train.target) == 4


def test_columns_by_number_names_of_files_and_of_classes(tmp_path):
    rows = [(f"text {i}", str(i % 2)) for i in range(10)]
    write(tmp_path / "one.txt", rows, ";", header=False)
    write(tmp_path / "two.txt", rows[:4], ";", header=False)
    table = TextTable(
        str(tmp_path), 0, 1, ";", header=False, train_file="one.txt", test_file="two.txt", class_names=["no", "yes"]
    )
    loaded = table.load()
    assert loaded.kind.names == ("no", "yes")
    assert (len(loaded.train.target), loaded.val, len(loaded.test.target)) == (10, None, 4)


def test_sentences_of_one_document_stay_in_one_split(tmp_path):
    lines = [f"text {i} of {['good', 'bad'][i % 2]},{i % 2},d{i // 4}" for i in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["text,label,document_id", *lines]) + "\n")
    named = prepared(TextTable(str(tmp_path / "t.csv"), group_column="document_id"))
    documents = [{i // 4 for i in split.ids.tolist()} for split in named.splits]
    assert sum(map(len, documents)) == 20
    texts = sorted({f"d{k}" for k in range(20)})
    assert [{texts[code] for code in split.groups} for split in named.splits] == [
        {f"d{k}" for k in own} for own in documents
    ]
    assert named.notes == ()
    (note,) = prepared(TextTable(str(tmp_path / "t.csv"))).notes
    assert "column document_id of" in note
    assert note.endswith("set dataset.group_column=document_id")
    with pytest.raises(
        UserError, match=r"dataset\.group_column=who is not a column of .*; it has text, label, document"
    ):
        prepared(TextTable(str(tmp_path / "t.csv"), group_column="who"))


BAD = {
    "text,label\na,x\n ,y\n": r"t\.csv, line 3: text is empty; dataset\.on_error=skip leaves it out",
    "text,label\na,x\nb,\n": r"t\.csv, line 3: label is empty",
    "text,label\na,x\nb,y,z\n": r"t\.csv, line 3: 3 values instead of 2",
    "words,label\na,x\n": r"dataset\.text_column=text is not a column of .*t\.csv; it has words, label",
    "text,text,label\na,b,x\n": r"t\.csv has two columns named text \(1 and 2\)",
    "text,label\na,x\nb,x\n": r"t\.csv: the column label is x in every row; at least 2 classes are needed",
    "text,label\na,1\nb,2\nc,3\nd,4\n": r"t\.csv: the column label has 4 different labels in 4 rows",
    "text,label\n": r"t\.csv has no rows with text and label",
    "": r"t\.csv is empty",
}


@pytest.mark.parametrize("content", BAD)
def test_bad_files_are_told_in_a_sentence(tmp_path, content):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(UserError, match=BAD[content]):
        TextTable(str(tmp_path / "t.csv")).load()


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"text,label\na,x\nb\xff,y\n")
    with pytest.raises(UserError, match=r"t\.csv, line 3: byte 0xff is not UTF-8"):
        TextTable(str(tmp_path / "t.csv")).load()


def test_labels_of_test_that_train_does_not_have(folder):
    write(folder / "test.csv", [("a", "good"), ("b", "awful")])
    with pytest.raises(UserError, match=r"test\.csv, line 3: train has no example whose label is awful"):
        TextTable(str(folder)).load()


def test_skipped_rows_are_counted(folder, capsys):
    rows = [*sentences(40), ("", "good"), ("x", " ")]
    write(folder / "train.csv", rows)
    loaded = TextTable(str(folder), on_error="skip").load()
    assert loaded.dropped == 2
    assert len(loaded.train.target) == 40
    assert "2 of 42 rows of" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"root": None}, r"dataset\.root has no value"),
        ({"root": "/nowhere"}, r"dataset\.root=/nowhere does not exist; it must be a file or a folder"),
        ({"train_file": "a.csv"}, r"dataset\.train_file=a\.csv is not in dataset\.root"),
        ({"tokenizer": "letters"}, r"dataset\.tokenizer=letters must be one of words, spaces, bpe"),
        ({"on_error": "ignore"}, r"dataset\.on_error=ignore must be one of raise, skip"),
        ({"delimiter": "::"}, r"dataset\.delimiter=:: must be auto, one character, tab"),
        ({"vocabulary_size": 2}, r"dataset\.vocabulary_size=2 must be at least 3"),
        ({"min_count": 0}, r"dataset\.min_count=0 must be at least 1"),
        ({"max_length": 0}, r"dataset\.max_length=0 must be at least 1"),
        ({"class_names": ["one"]}, r"dataset\.class_names=\['one'\] must be 2 names, for the labels bad, good"),
        ({"header": False}, r"dataset\.text_column=text must be a number from 0 to 1"),
        ({"label_column": "text"}, r"dataset\.text_column and dataset\.label_column both name the column text"),
    ],
)
def test_settings_that_are_refused(folder, words, sentence):
    with pytest.raises(UserError, match=sentence):
        TextTable(**{"root": str(folder), **words}).load()


def test_two_files_for_one_split(folder):
    (folder / "train.tsv").write_text("")
    with pytest.raises(UserError, match=r"has both train\.csv and train\.tsv; dataset\.train_file=NAME"):
        TextTable(str(folder)).load()


@pytest.mark.parametrize("tokenizer", ["words", "bpe"])
def test_what_is_learnt_follows_from_the_training_split_alone(tmp_path, tokenizer):
    path = write(tmp_path / "all.csv", sentences(120))
    clean = prepared(TextTable(str(path), tokenizer=tokenizer))
    rows = sentences(120)
    for i in np.concatenate([clean.val.ids, clean.test.ids]).tolist():
        rows[i] = ("poison " * 60 + "zzz éé", rows[i][1])
    write(path, rows)
    poisoned = prepared(TextTable(str(path), tokenizer=tokenizer))
    assert poisoned.input_shape == clean.input_shape
    assert poisoned.encode.names == clean.encode.names
    whole = [np.arange(len(clean.train))]
    (a,), (b,) = clean.train.batches(whole), poisoned.train.batches(whole)
    assert torch.equal(a.inputs, b.inputs)
    assert clean.digest == poisoned.digest


def test_the_length_covers_nearly_all_of_train_and_is_said(folder, capsys):
    write(folder / "train.csv", [*sentences(300), ("word " * 500, "good")])
    data = prepared(TextTable(str(folder)))
    lengths = [len(text.split()) for text, _ in sentences(300)]
    assert data.input_shape == (max(lengths),)
    assert "99 % of the training texts do not exceed (the longest has 500)" in capsys.readouterr().err
    assert prepared(TextTable(str(folder), max_length=5)).input_shape == (5,)
    assert prepared(TextTable(str(folder), max_length=5)).train.lengths.max() == 5


# ---- batches of similar lengths --------------------------------------------------------------------------------------


def test_epochs_hold_every_example_once_in_batches_of_similar_lengths():
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 60, 4000)
    random = rng.permutation(4000).reshape(-1, 20)
    ordered = alike(random, lengths, stream(0, "order", 0))
    assert ordered.shape == random.shape
    assert sorted(ordered.ravel().tolist()) == list(range(4000))
    assert np.array_equal(ordered, alike(random, lengths, stream(0, "order", 0)))
    spread = np.ptp(lengths[ordered], axis=1).mean()
    assert spread < 0.1 * np.ptp(lengths[random], axis=1).mean()
    first = lengths[ordered].mean(1)
    assert abs(np.corrcoef(first, np.arange(len(first)))[0, 1]) < 0.2, "batches come in random order"
    assert len(random) > 3 * SORTED
    batch_of = {int(i): k for k, batch in enumerate(ordered) for i in batch}
    again = alike(rng.permutation(4000).reshape(-1, 20), lengths, stream(0, "order", 1))
    same = np.mean([batch_of[int(batch[0])] == batch_of[int(i)] for batch in again for i in batch[1:]])
    assert same < 0.2, "an example has other companions in another epoch"


def test_plans_of_texts_are_sorted_and_of_pictures_are_not(folder):
    fit = Fit(assemble(config_of(*TEXT, f"dataset.root={folder}"), "f"), folder)
    first, again, second = fit.batches.plan(0).order, fit.batches.plan(0).order, fit.batches.plan(1).order
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    lengths = fit.parts.data.train.lengths
    shuffled = stream(0, "order", 0).permutation(160).reshape(10, 16)
    assert sorted(first.ravel()) == list(range(160))
    assert np.ptp(lengths[first], axis=1).mean() < 0.3 * np.ptp(lengths[shuffled], axis=1).mean()
    shapes = set()
    for i, (raw, _) in fit.batches.prepared(fit.batches.plan(0), 0):
        batch = fit.batches.encoded(raw)
        assert batch.inputs.dtype == torch.int64
        longest = int(lengths[first[i]].max())
        assert batch.inputs.shape == (16, min(-(-longest // 8) * 8, *fit.parts.data.input_shape))
        assert ((batch.inputs > 0).sum(1).numpy() == lengths[first[i]]).all()
        shapes.add(batch.inputs.shape)
    assert 1 < len(shapes) <= 3


@pytest.mark.parametrize("workers", [0, 1])
def test_streamed_batches_are_trimmed_alike(folder, workers):
    resident = prepared(TextTable(str(folder)))
    streaming = prepared(TextTable(str(folder)), storage="streaming", workers=workers)
    order = [np.array([3, 5, 1]), np.array([7])]
    for a, b in zip(resident.train.batches(order), streaming.train.batches(order), strict=True):
        assert torch.equal(a.inputs, b.inputs)


def test_evaluation_keeps_the_order_and_the_numbers_of_untrimmed_batches(folder):
    fit = Fit(assemble(config_of(*TEXT, f"dataset.root={folder}", "trainer.eval_batch_size=7"), "f"), folder)
    split, model = fit.parts.data.test, fit.parts.model
    positions = np.array([5, 40, 2, 79, 30, 31, 8, 9, 11])
    for chosen in (None, positions):
        found = fit.evaluator.observe(model, split, chosen)
        plain = fit.evaluator.observe(model, replace(split, lengths=None), chosen)
        torch.testing.assert_close(found["logits"], plain["logits"], atol=1e-6, rtol=1e-5)
        assert torch.equal(found["target"], plain["target"])
        assert found["target"].tolist() == split.target[slice(None) if chosen is None else chosen].tolist()


# ---- models --------------------------------------------------------------------------------------------------------


def model_of(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return MODELS[name]()


def tokens(count: int = 6, seed: int = 0) -> Tensor:
    """Texts of different lengths."""
    rng = np.random.default_rng(seed)
    out = torch.zeros(count, LENGTH, dtype=torch.int64)
    for row, length in zip(out, rng.permutation(np.linspace(1, LENGTH, count).astype(int)), strict=True):
        row[:length] = torch.from_numpy(rng.integers(1, VOCABULARY, length))
    return out


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_no_answer(name):
    model = model_of(name).eval()
    inputs = tokens()
    whole = model(inputs)
    assert whole.shape == (6, CLASSES)
    for row, expected in zip(inputs, whole, strict=True):
        length = int((row > 0).sum())
        for width in {length, min(LENGTH, length + 1), min(LENGTH, length + 3)}:
            torch.testing.assert_close(model(row[None, :width])[0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_the_answer_depends_on_every_word_and_on_the_order(name):
    model = model_of(name).eval()
    inputs = torch.arange(2, 2 + LENGTH)[None]
    with torch.no_grad():
        model.embedding.vectors.weight.mul_(4)
        if name == "text_cnn":  # a maximum hides a word that is never the largest: look below it
            features = lambda x: model.sentence.windows[0](model.embedding(x).transpose(1, 2))  # noqa: E731
        else:
            features = model
        clean = features(inputs)
        for place in range(LENGTH):
            changed = inputs.clone()
            changed[0, place] = 29
            assert (features(changed) - clean).abs().max() > 1e-5
        assert (model(inputs.flip(1)) - model(inputs)).abs().max() > 1e-4


@pytest.mark.parametrize("name", MODELS)
def test_gradients_reach_every_parameter_but_the_padding(name):
    model = model_of(name).train()
    losses(model(tokens(24)), torch.arange(24) % CLASSES).mean().backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().sum() > 0
    weight = model.embedding.vectors.weight
    assert (weight.grad[0] == 0).all()
    assert (weight[:2] == 0).all()
    assert model.mixup_layers == ("embedding", "sentence")


def test_the_way_back_turns_each_text_and_leaves_padding():
    values = torch.arange(8.0).reshape(2, 4, 1)
    mask = torch.tensor([[1.0, 1.0, 0.3, 0.0], [1.0, 0.0, 0.0, 0.0]])
    assert backwards(values, mask)[..., 0].tolist() == [[2, 1, 0, 3], [4, 5, 6, 7]]


def test_the_cnn_against_windows_by_hand():
    model = model_of("text_cnn").eval()
    row = torch.tensor([4, 9, 2, 7, 7])
    features = []
    for window in model.sentence.windows:
        weight = window.weight.detach().numpy()  # (channels, D + 1, width)
        width = weight.shape[2]
        around = np.zeros((len(row) + 2 * (width - 1), 8))
        around[width - 1 : width - 1 + len(row), :7] = model.embedding.vectors.weight.detach()[row].numpy()
        around[width - 1 : width - 1 + len(row), 7] = 1
        each = [np.einsum("cdw,wd->c", weight, around[t : t + width]) for t in range(len(around) - width + 1)]
        features.append(np.maximum(np.max(each, 0), 0))
    sentence = model.sentence(model.embedding(row[None]))
    np.testing.assert_allclose(sentence[0].detach().numpy(), np.concatenate(features), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: TextCNN(input_shape=(3, 8, 8), num_outputs=2), r"TextCNN takes texts.*shape \(3, 8, 8\)"),
        (lambda: BiLSTM(input_shape=(3,), num_outputs=2, num_tokens=9, hidden=0), "hidden must be >= 1, got 0"),
        (lambda: TextCNN(input_shape=(3,), num_outputs=2, num_tokens=9, widths=[]), "widths must hold numbers"),
        (lambda: TextTransformer(input_shape=(3,), num_outputs=2, num_tokens=9, width=9), "a multiple of heads=4"),
        (lambda: TextTransformer(input_shape=(3,), num_outputs=2, num_tokens=9, dropout=1.0), "dropout must be in"),
    ],
)
def test_bad_arguments_of_models(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


# ---- mixing --------------------------------------------------------------------------------------------------------


def bound_to(mixer, name: str):
    model = model_of(name).train()
    model.head[0].p = 0.0  # without chance
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    mixer.bind(Bound(model, losses, (LENGTH,), Labels(CLASSES), tokens=True))
    return model


def one_draw(mixer, batch, seed=0):
    drawn = mixer.draw(stream(seed, "mixing"), Request(1, len(batch.target), targets=batch.target.numpy()[None]))
    return at_step(upload(drawn, torch.device("cpu")), 0)


def rows_of(lam: Tensor, values: Tensor) -> Tensor:
    return lam.reshape(-1, *[1] * (values.dim() - 1))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", ["embedding", "sentence"])
@pytest.mark.parametrize("per", ["batch", "sample"])
def test_word_and_sentence_mixup_against_mixing_by_hand(name, layer, per):
    mixer = (
        Mixup(1.0, lam_per=per, partner="no_self")
        if layer == "embedding"
        else ManifoldMixup(1.0, lam_per=per, layers=["sentence"], partner="no_self")
    )
    model, twin = bound_to(mixer, name), bound_to(Mixup(0.0), name)
    batch = Batch(tokens(), torch.arange(6) % CLASSES)
    draw = one_draw(mixer, batch)
    mixed = mixer.apply(batch, draw)
    assert mixed.inputs is batch.inputs
    loss = mixed.loss(losses, model(mixed.inputs)).mean()
    loss.backward()

    perm, lam = draw["perm"], draw["lam"]
    mix = lambda x: rows_of(lam, x) * x + rows_of(1 - lam, x) * x[perm]  # noqa: E731
    embedded = twin.embedding(batch.inputs)
    if layer == "embedding":
        real = (batch.inputs > 0).float()
        expected_mask = lam[:, None] * real + (1 - lam[:, None]) * real[perm]
        torch.testing.assert_close(mix(embedded)[..., -1], expected_mask)
    output = twin.head(twin.sentence(mix(embedded)) if layer == "embedding" else mix(twin.sentence(embedded)))
    own, partner = losses(output, batch.target), losses(output, batch.target[perm])
    expected = (lam * own + (1 - lam) * partner).mean()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, atol=1e-6, rtol=1e-4)
    clean = model(batch.inputs)
    torch.testing.assert_close(clean, twin(batch.inputs), msg="nothing stays armed")


def test_the_mask_mixes_where_one_text_alone_has_a_token():
    mixer = Mixup(law="fixed", lam=0.7, partner="roll")
    model = bound_to(mixer, "text_cnn")
    seen = []
    model.sentence.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    batch = Batch(torch.tensor([[5, 6, 7, 0], [8, 0, 0, 0]]), torch.tensor([0, 1]))
    model(mixer.apply(batch, one_draw(mixer, batch)).inputs)
    (embedded,) = seen
    torch.testing.assert_close(embedded[..., -1], torch.tensor([[1, 0.7, 0.7, 0], [1, 0.3, 0.3, 0]]))
    torch.testing.assert_close(embedded[0, 1, :-1], 0.7 * model.embedding.vectors.weight[6])


def test_lam_of_one_is_the_clean_pass_bit_for_bit():
    mixer = Mixup(law="fixed", lam=1.0)
    model = bound_to(mixer, "text_cnn")
    batch = Batch(tokens(), torch.arange(6) % CLASSES)
    clean = model(batch.inputs)
    assert torch.equal(model(mixer.apply(batch, one_draw(mixer, batch)).inputs), clean)


def test_an_evaluation_is_never_mixed():
    mixer = Mixup(law="fixed", lam=0.3, partner="no_self")
    model, twin = bound_to(mixer, "text_cnn"), bound_to(Mixup(0.0), "text_cnn")
    batch = Batch(tokens(), torch.arange(6) % CLASSES)
    mixer.apply(batch, one_draw(mixer, batch))
    clean = twin(batch.inputs)
    assert torch.equal(model.eval()(batch.inputs), clean)
    assert not torch.allclose(model.train()(batch.inputs), clean), "armed until a pass in training mode"


def test_three_texts_and_a_clean_half():
    kfold = KFoldMixup(1.0, k=3, lam_per="sample")
    model = bound_to(kfold, "text_cnn")
    batch = Batch(tokens(), torch.arange(6) % CLASSES)
    draw = one_draw(kfold, batch)
    mixed = kfold.apply(batch, draw)
    output = model(mixed.inputs)
    embedded = model.embedding(batch.inputs)
    weights = draw["weights"]
    by_hand = rows_of(weights[:, 0], embedded) * embedded
    for k, perm in enumerate(draw["perms"], 1):
        by_hand = by_hand + rows_of(weights[:, k], embedded) * embedded[perm]
    torch.testing.assert_close(output, model.head(model.sentence(by_hand)))

    reg = RegMixup(2.0, partner="no_self")
    model = bound_to(reg, "text_cnn")
    draw = one_draw(reg, batch)
    output = model(reg.apply(batch, draw).inputs)
    embedded = model.embedding(batch.inputs)
    lam = rows_of(draw["lam"], embedded)
    mixed_half = model.head(model.sentence(lam * embedded + (1 - lam) * embedded[draw["perm"]]))
    torch.testing.assert_close(output, torch.cat([model.head(model.sentence(embedded)), mixed_half]))


def test_manifold_mixup_of_tokens_has_no_input_in_its_set():
    mixer = ManifoldMixup()
    bound_to(mixer, "text_cnn")
    assert mixer.layers == ["embedding", "sentence"]
    with pytest.raises(ValueError, match="layers: tokens of texts cannot be mixed at the input"):
        bound_to(ManifoldMixup(layers=["input", "sentence"]), "text_cnn")
    with pytest.raises(ValueError, match="has no layer 'words'; choose one of: embedding, "):
        bound_to(ManifoldMixup(layers=["words"]), "text_cnn")


TAKES_TOKENS = {"none", "mixup", "cmixup", "mixup_io", "kfold_mixup", "regmixup", "manifold_mixup", "label_smoothing"}


@pytest.mark.parametrize("option", sorted(path.stem for path in (CONF / "aug").glob("*.yaml")))
def test_every_method_mixes_tokens_or_refuses_them_in_a_sentence(option):
    mixer = build("aug", config_of(f"aug={option}").aug)
    if option not in TAKES_TOKENS:
        with pytest.raises(ValueError, match=r"^\w+ needs inputs that are numbers, such as pixels; these inputs are"):
            bound_to(mixer, "text_cnn")
        return
    model = bound_to(mixer, "text_cnn")
    batch = Batch(tokens(), torch.arange(6) % CLASSES)
    clean = model(batch.inputs)
    mixed = mixer.apply(batch, one_draw(mixer, batch))
    assert not mixed.inputs.is_floating_point()
    output = model(mixed.inputs)
    assert torch.isfinite(mixed.loss(losses, output)).all()
    assert (option in ("none", "label_smoothing")) == torch.equal(output[-6:], clean)


def test_what_else_is_refused():
    with pytest.raises(ValueError, match="partner=nearest_input needs inputs that are numbers"):
        bound_to(Mixup(partner="nearest_input"), "text_cnn")
    bound_to(Mixup(partner="nearest_feature"), "text_cnn")
    with pytest.raises(TypeError, match="mix its embedding"):
        Mixup()(tokens(), torch.zeros(6))


# ---- runs ----------------------------------------------------------------------------------------------------------


class TextTraining(Training):
    """A training on a folder of texts."""

    def __init__(self, run_dir: Path, folder: Path, *words: str, resume: bool = False) -> None:
        self.run_dir = run_dir
        self.fit = Fit(assemble(config_of(*TEXT, f"dataset.root={folder}", *words), "fingerprint"), run_dir)
        if resume:
            self.fit.resume()
        self.log = RunLog(Record(run_dir, resume=resume), TensorBoardView(run_dir), ProgressView())
        if not resume:
            self.log.record.event("start", arm="arm", seed=0)


def trained(path: Path, folder: Path, *words: str) -> Training:
    training = TextTraining(path, folder, *words)
    training.scalars = training.run()
    return training


@pytest.mark.parametrize("aug", ["none", "mixup", "manifold_mixup"])
def test_a_training_on_sentences_learns_them(tmp_path, folder, aug):
    scalars = trained(tmp_path / "run", folder, f"aug={aug}", "trainer.epochs=5").scalars
    assert scalars["test/accuracy"] > 0.9
    assert scalars["test/macro_f1"] > 0.9
    assert (scalars["mix/lam_mean"] < 1) == (aug != "none")


def test_a_training_on_shuffled_labels_learns_nothing(tmp_path, folder):
    texts, labels = zip(*sentences(160), strict=True)
    write(folder / "train.csv", list(zip(texts, np.random.default_rng(0).permutation(labels), strict=True)))
    assert trained(tmp_path / "run", folder, "trainer.epochs=5").scalars["test/accuracy"] < 0.72


def test_alpha_0_is_the_baseline_bit_for_bit(tmp_path, folder):
    runs = [
        trained(tmp_path / name, folder, *words)
        for name, words in (("a", ["aug=none"]), ("b", ["aug=mixup", "aug.alpha=0"]))
    ]
    for p, q in zip(*(run.fit.parts.model.parameters() for run in runs), strict=True):
        assert torch.equal(p, q)


def test_a_run_that_was_cut_goes_on_with_the_same_curve(tmp_path, folder):
    whole = TextTraining(tmp_path / "whole", folder, "aug=mixup")
    whole.run()
    cut_off = TextTraining(tmp_path / "cut", folder, "aug=mixup")
    with pytest.raises(Interrupted):
        cut_off.run(StopAfter(14))
    resumed = TextTraining(tmp_path / "cut", folder, "aug=mixup", resume=True)
    resumed.run()
    for a, b in zip(read_epochs(tmp_path / "whole"), read_epochs(tmp_path / "cut"), strict=True):
        kept = {name: value for name, value in a["scalars"].items() if not name.startswith("time/")}
        assert kept == {name: b["scalars"][name] for name in kept}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=mlp"], "model: the examples are texts; set model=text_cnn, bilstm or text_transformer, and"),
        (
            ["transform=crop_flip"],
            "transform: CropFlip changes pictures, and the examples are texts; use transform=none",
        ),
        (["aug=cutmix"], "aug: CutMix needs inputs that are numbers"),
        (["aug=mixup", "trainer.accumulate=2"], r"trainer\.accumulate must be 1 with this aug"),
        (["dataset.mean=[0.5]"], r"dataset\.mean and dataset\.std are for pictures"),
    ],
)
def test_mistakes_of_a_run_are_told_in_a_sentence(folder, words, sentence):
    common = [word for word in TEXT if not (words[0].startswith("model=") and word.startswith("model"))]
    with pytest.raises(UserError, match=sentence):
        assemble(config_of(*common, f"dataset.root={folder}", *words), "f")


def test_a_model_of_texts_refuses_pictures():
    with pytest.raises(UserError, match=r"model: TextCNN takes texts, such as those of dataset=text_table"):
        assemble(config_of("dataset=digits", "model=text_cnn", "trainer.device=cpu"), "f")


def test_the_preview_shows_both_texts_and_where_they_are_mixed(folder):
    parts = ingredients(config_of(*TEXT, f"dataset.root={folder}", "aug=mixup"))
    examples = Beginning(parts).examples()
    assert {example.layer for example in examples} == {"embedding"}
    length = parts.data.input_shape[0]
    assert all(x.shape == (length,) for example in examples for x in (example.own, *example.others, example.mixed))
    assert any({"good", "bad"} <= {line.split(" * ")[1] for line in example.label} for example in examples)
    png, (width, height) = draw_sheet(parts, Title("heading", "about", ()))
    assert png.startswith(b"\x89PNG")
    assert width > height > 300


def test_tiles_hold_words_and_the_sheet_of_a_batch_both_texts():
    encode = Tokens(("", "[?]", "good", "bad", "word"), 6)
    drawn = encode.draw(torch.tensor([[2, 3, 4, 0, 0, 0], [2, 3, 4, 0, 0, 0], [0] * 6]), 128)
    assert drawn.shape == (3, 128, 128, 3)
    assert np.array_equal(drawn[0], drawn[1])
    assert np.ptp(drawn[2]) < 20 < np.ptp(drawn[0])
    long = encode.draw(torch.tensor([[4] * 400]), 128)  # what has no room is cut off
    assert long.shape == (1, 128, 128, 3)
    mixed = Mixup(law="fixed", lam=0.6)
    bound_to(mixed, "text_cnn")
    batch = Batch(torch.tensor([[2, 4], [3, 4]]), torch.tensor([0, 1]))
    done = mixed.apply(batch, one_draw(mixed, batch))
    with_partners = mixed_sheet(done, encode, Classes(("x", "y")), partners=batch.inputs.flip(0))
    alone = mixed_sheet(done, encode, Classes(("x", "y")))
    assert with_partners.shape[0] == alone.shape[0] + 256
