"""What `mixup-lab compare` knows before its first run: it refuses it or says it, and nothing is recorded."""

import json
import re
import time
from itertools import product
from pathlib import Path

import pytest
from helpers.cases import each
from helpers.command_line import in_this_process
from helpers.processes import lines_of
from helpers.studies import write_study
from rich.console import Console

from mixup_lab.commands.before import seconds_needed
from mixup_lab.commands.line import complete
from mixup_lab.commands.plan import make_plan
from mixup_lab.commands.watch import Place, State, Watch, duration, look
from mixup_lab.runs import store

TINY = ("dataset=fake", "dataset.shape=[1,8,8]", "model=mlp", "model.hidden=[8]", "trainer.batch_size=32",
        "trainer.device=cpu", "trainer.threads=1", "trainer.epochs=1", "hydra/launcher=basic", "study=s")  # fmt: skip


@pytest.fixture
def line(monkeypatch, capsys, tmp_path):
    return in_this_process(monkeypatch, capsys, tmp_path)


def arms_in(study: Path) -> list[str]:
    return sorted({path.parent.parent.name for path in study.rglob("summary.json")})


# ---- arms ---------------------------------------------------------------------------------------------------------


@each(
    "words, hydra",
    [
        (["aug=mixup,cutmix"], ["aug=none,mixup,cutmix"]),
        (["aug=choice(mixup,cutmix)"], ["aug=none,mixup,cutmix"]),
        (["aug=glob(mixup*)"], ["aug=none,mixup,mixup_cutmix,mixup_io"]),
        (["aug=mixup,noise"], ["aug=none,mixup,noise"]),
        (["aug.alpha=range(0.1,0.3,0.1)"], ["aug=mixup", "aug.alpha=0,0.1,0.2"]),
        (["aug.alpha=choice(0.1,0.2)"], ["aug=mixup", "aug.alpha=0,0.1,0.2"]),
        (["++aug.alpha=0.4"], ["aug=mixup", "++aug.alpha=0,0.4"]),
        # One dose for several methods: each with dose 0 is the baseline.
        (["aug=mixup,cutmix", "aug.alpha=0.4"], ["aug=mixup,cutmix", "aug.alpha=0,0.4"]),
        (["aug=none,mixup", "aug.alpha=0.4,1"], ["aug=mixup", "aug.alpha=0,0.4,1"]),
        (["aug=mixup,resizemix", "aug.prob=0.5"], ["aug=mixup,resizemix", "aug.prob=0,0.5"]),
    ],
)
def test_a_baseline_is_added(words, hydra):
    overrides = complete([*words, "seed=0"]).overrides
    assert overrides == ["seed=0", *hydra]
    plan = make_plan(overrides)
    assert len(set(plan.names) - plan.mixing) == 1
    assert len(plan.mixing) == len(plan.names) - 1 > 0


MISTAKES = [
    (["aug.alpha=0,x"], "aug.alpha must be a number, got 'x'"),
    (["aug.alpha=0,inf"], "aug.alpha must be a finite number >= 0, got inf"),
    (["aug.alpha=-0.1,0.2"], "aug.alpha must be a finite number >= 0, got -0.1"),
    (["aug.alpha=[0.1,0.2]"], "several values to compare are written aug.alpha=0.1,0.2"),
    (["aug.alpha='0.1 0.2'"], "several values to compare are written aug.alpha=0.1,0.2"),
    (["aug=[mixup,cutmix]"], "aug must be one option, got [mixup,cutmix]; several methods to compare are written"),
    (["aug.alpha=interval(0,1)"], "aug.alpha=interval(0,1) has no list of values to compare; write aug.alpha=A,B,C"),
    (["aug=mixup,cutmix", "aug.prob=0.5,y"], "aug.prob must be a number, got 'y'"),
    (["optimizer.lr=0.1,-1"], "optimizer.lr must be greater than 0, got -1"),
    (["optimizer.weight_decay=0,x"], "optimizer.weight_decay=x"),
    (["model.hidden=[8],x"], "model.hidden must be a list of whole numbers, got 'x'"),
    (["scheduler.min_factor=0,-1"], "scheduler.min_factor must be 0 or more, got -1"),
    (["transform=crop_flip", "transform.padding=0,x"], "transform.padding must be a whole number, got 'x'"),
    (["variant=mixup,same_class"], "no arm is a baseline to compare with; add aug=none"),
    (["baseline=mixup-0.4", "aug.alpha=0.2,0.4"], "baseline=mixup-0.4 is not an arm of this study; did you mean"),
]


def test_what_cannot_be_trained_is_refused_before_anything(line, tmp_path):
    for words, sentence in MISTAKES:
        code, out, err = line("compare", "study=s", "seed=0", *words)
        assert (code, out) == (2, ""), words
        assert sentence in err, words
        assert err.count("\n") == 1, words
        assert not any(tmp_path.iterdir()), words


def test_two_spellings_of_a_number_are_one_arm(line, tmp_path):
    study = tmp_path / "outputs" / "s"
    code, out, _ = line("compare", *TINY, "aug.alpha=1,1.0", "seed=0")
    assert code == 0
    assert out.startswith("study outputs/s: 2 arms x 1 seeds, 2 runs\n")
    assert arms_in(study) == ["baseline", "mixup-a1"]
    records = {path: path.read_bytes() for path in study.rglob("record.jsonl")}
    assert "2 runs, 2 finished before" in line("compare", *TINY, "aug.alpha=1.0", "seed=0")[1]
    assert "2 runs, 2 finished before" in line("compare", *TINY, "aug.alpha=1", "model.hidden=[8.0]", "seed=0")[1]
    assert {path: path.read_bytes() for path in study.rglob("record.jsonl")} == records


def test_several_methods_with_one_dose(line, tmp_path):
    assert line("compare", *TINY, "aug=mixup,cutmix", "aug.alpha=0.4", "seed=0")[0] == 0
    assert arms_in(tmp_path / "outputs" / "s") == ["baseline", "cutmix-a0.4", "mixup-a0.4"]
    words = [word for word in TINY if not word.startswith(("study", "hydra"))]
    assert line("train", "-m", *words, "aug=mixup,cutmix", "aug.alpha=0.4", "hydra.sweep.dir=sweep")[0] == 0
    starts = [lines_of(path.parent)[0] for path in (tmp_path / "sweep").rglob("record.jsonl")]
    assert sorted(start["name"] for start in starts) == ["cutmix-a0.4", "mixup-a0.4"]
    for start in starts:
        assert "aug.alpha=0.4" in start["overrides"]


# ---- the metric ---------------------------------------------------------------------------------------------------


def test_an_unknown_metric_is_refused_by_the_first_run(line, tmp_path):
    def asked(name, *words, of=TINY):
        code, _, err = line("compare", *of, "aug.alpha=1", "seed=0", f"metric={name}", *words)
        return code, err

    names = "They have: loss, accuracy, macro_recall, macro_f1, auroc, ece"
    assert asked("f1") == (
        2, f"mixup-lab compare: metric=f1 is not a metric of these data; did you mean macro_f1? {names}\n"
    )  # fmt: skip
    assert "; did you mean accuracy? " in asked("val/acuracy")[1]
    assert "of these data. They have: loss, rmse, mae, r2" in asked("zzz", "dataset=diabetes", of=TINY[2:])[1]
    assert not list(tmp_path.rglob("*.jsonl"))
    assert not list(tmp_path.rglob("error.log"))

    assert asked("val/macro_f1")[0] == 0
    for path in (tmp_path / "outputs" / "s").rglob("record.jsonl"):
        assert not any("metric" in word for word in lines_of(path.parent)[0]["overrides"])
    answer = json.loads((tmp_path / "outputs" / "s" / "report.json").read_text())
    assert answer["metric"]["name"] == "macro_f1"

    # In a study with runs a new run refuses it as well, and is not recorded as failed.
    assert asked("f1", "aug.alpha=1,2")[0] == 2
    assert not list(tmp_path.rglob("error.log"))
    assert len(list(tmp_path.rglob("record.jsonl"))) == 2


def test_asking_for_a_metric_changes_no_bit(line, tmp_path):
    for name, words in (("with", ["metric=ece"]), ("without", [])):
        assert line("compare", *TINY, "aug.alpha=1", "model.dropout=0.5", "seed=0", *words, f"study={name}")[0] == 0
    runs = [
        {path.parent.parent.name: json.loads(path.read_text())["scalars"] for path in tmp_path.rglob(pattern)}
        for pattern in ("with/*/*/summary.json", "without/*/*/summary.json")
    ]
    first, second = (
        {arm: {k: v for k, v in scalars.items() if "time" not in k} for arm, scalars in run.items()} for run in runs
    )
    assert first == second
    assert len(first) == 2


# ---- seeds --------------------------------------------------------------------------------------------------------


FIRST_LOOK, SECOND_LOOK = 0.04, 0.005  # levels, as the page on statistics has them


def least_p(seeds: int, arms: int) -> float:
    """Of the sign flips of differences that all point the same way, those that are as extreme; by counting them."""
    flips = [abs(sum(signs)) for signs in product((-1, 1), repeat=seeds)]
    return arms * sum(flip >= seeds for flip in flips) / len(flips)


def test_too_few_seeds_are_said_at_the_start(line):
    said = re.compile(r"^(\d+) seeds? cannot reach p <= 0.04 with (\d) arms?; (\d+) can$", re.M)
    for seeds, alphas in ((1, "1"), (5, "0.4,1"), (6, "1"), (7, "0.4,1")):
        arms = alphas.count(",") + 1
        words = ("trainer.batch_size=100000", f"seed=range({seeds})", f"aug.alpha={alphas}")  # nothing is trained
        out = line("compare", *TINY, *words)[1]
        found = said.search(out)
        assert (found is None) == (least_p(seeds, arms) <= FIRST_LOOK), (seeds, arms)
        if found:
            assert (int(found[1]), int(found[2])) == (seeds, arms)
            assert least_p(int(found[3]), arms) <= FIRST_LOOK < least_p(int(found[3]) - 1, arms)
    out = line("compare", *TINY, "trainer.batch_size=100000", "seed=range(8)", "aug.alpha=1", "confirm=3")[1]
    assert "\nconfirm: 3 seeds cannot reach p <= 0.04 with 1 arm; 6 can\n" in out


def test_seeds_and_arms_of_the_study_count_too(line):
    assert line("compare", *TINY, "aug.alpha=1", "seed=range(6)")[0] == 0
    out = line("compare", *TINY, "aug.alpha=0.5", "seed=6,7")[1]
    assert "\n8 seeds cannot reach p <= 0.005 with 2 arms; 10 can\n" in out  # the second look
    assert least_p(10, 2) <= SECOND_LOOK < least_p(9, 2)


# ---- time ---------------------------------------------------------------------------------------------------------


def test_the_time_is_that_in_which_the_finished_runs_were_made(tmp_path):
    assert seconds_needed(tmp_path, 3) is None
    write_study(tmp_path, {0: [[True]] * 3, 1: [[True]] * 3})
    # Two side by side for 10 s and 14 s, a break, and two one after the other; one that was resumed tells nothing.
    spans = [(0, 10), (4, 14), (1000, 1006), (1006, 1010), (2000, 2100), None]
    for run_dir, span in zip(sorted(path.parent for path in tmp_path.rglob("record.jsonl")), spans, strict=True):
        start, *others = lines_of(run_dir)
        events = [{**start, "time": 0.0}, *others, others[-1]]
        if span is not None:
            events = [{**start, "time": span[0]}, *others[:-1], {**others[-1], "time": span[1]}]
        (run_dir / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    assert seconds_needed(tmp_path, 3) == pytest.approx(3 * (14 + 10 + 100) / 5)


def test_durations_in_words():
    assert [duration(s) for s in (0.4, 50, 59.4, 59.6, 89, 91, 725, 3599, 3600, 11_100)] == [
        "0 s", "50 s", "59 s", "1 min", "1 min", "2 min", "12 min", "1 h 00 min", "1 h 00 min", "3 h 05 min",
    ]  # fmt: skip


def test_the_time_left_is_said_after_the_first_run_and_at_each_quarter(capsys):
    places = [Place(Path(f"/nowhere/{n}"), "arm", n) for n in range(8)]
    watch = Watch(places)
    watch._states = {place: State() for place in places}
    watch._console, watch._done_before, watch._said = Console(width=200), 0, -1
    for done in range(1, 9):
        watch._states[places[done - 1]] = State("ok", 1.0, 0.5)
        watch._started = time.monotonic() - 100 * done  # 100 s a run
        watch._say_time_left(done)
    assert capsys.readouterr().out.splitlines() == [
        "  about 12 min left (1 of 8 runs done)",
        "  about 10 min left (2 of 8 runs done)",
        "  about 7 min left (4 of 8 runs done)",
        "  about 3 min left (6 of 8 runs done)",
    ]


def test_the_live_table_takes_the_epochs_from_the_record(line, tmp_path):
    words = [word for word in TINY if not word.startswith(("trainer.epochs", "trainer.batch"))]
    assert line("compare", *words, "dataset.train_size=90", "aug.alpha=1", "seed=0")[0] == 0
    run = store.run_dir(tmp_path / "outputs" / "s", "baseline", 0)
    (run / "summary.json").unlink()
    start, *events = lines_of(run)
    (run / "record.jsonl").write_text("".join(json.dumps(event) + "\n" for event in [start, *events[:5]]))
    state = State()
    look(Place(run, "baseline", 0), state)
    assert state.progress == 5 / start["epochs"]
    assert start["epochs"] == len(events) - 1 == 46


# ---- steps --------------------------------------------------------------------------------------------------------


def test_the_length_of_the_runs_is_said_once(line):
    words = [word for word in TINY if not word.startswith(("trainer.epochs", "trainer.batch"))]
    few = "1 step an epoch, 3 in all: lower trainer.batch_size or raise trainer.epochs"
    almost = "99 steps an epoch, 198 in all: lower trainer.batch_size or raise trainer.epochs"
    enough = "100 steps an epoch, 200 in all"
    auto = "auto: batch size 16, 27 epochs (n = 304 training examples); 19 steps an epoch, 513 in all"
    both = "auto: 25 epochs (n = 200 training examples); 20 steps an epoch, 500 in all"
    for study, n, given, sentence in (
        ("a", 230, ["trainer.batch_size=128", "trainer.epochs=3"], few),
        ("b", 200, ["trainer.batch_size=2", "trainer.epochs=2"], enough),
        ("b2", 198, ["trainer.batch_size=2", "trainer.epochs=2"], almost),
        ("c", 304, [], auto),
        ("d", 200, ["trainer.batch_size=10"], both),
    ):
        data = ["dataset.train=400", f"dataset.train_size={n}"]
        code, out, _ = line("compare", *words, *data, *given, "aug.alpha=1", "seed=0", f"study={study}")
        assert code == 0
        assert [text for text in out.splitlines() if " an epoch, " in text] == [sentence]
