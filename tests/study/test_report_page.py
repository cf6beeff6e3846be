"""The report: page, Markdown, CSV, JSON and terminal table show what the answer says, safely and always alike."""

import csv
import io
import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import cache
from html import escape, unescape
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from helpers import answers
from helpers.studies import write_study
from rich.console import Console

from mixup_lab.look import NARROW, WIDE
from mixup_lab.study import formats, plots, shown
from mixup_lab.study.analysis import Options, analyse
from mixup_lab.study.export import as_json, csv_rows
from mixup_lab.study.markdown import markdown, text
from mixup_lab.study.page import page
from mixup_lab.study.reading import read
from mixup_lab.study.results import Answer, Moments
from mixup_lab.study.terminal import terminal_table

VOID = {"meta", "br", "wbr", "hr", "img", "link", "input"}
CASES = {
    "plain": {"epochs": 12, "classes": 3},
    "one seed": {"seeds": 1, "epochs": 3, "classes": 2},
    "nothing finished": {"finished": False, "epochs": 0, "classes": 0},
    "no curves, no classes": {"epochs": 0, "classes": 0},
    "no alpha": {"has_alpha": False, "epochs": 0, "classes": 40},
    "failed": {"lost": ((0.1, 1), (0.4, 0), (0.0, 2)), "epochs": 0, "classes": 0},
    "two blocks": {"decays": (1e-4, 5e-4), "epochs": 3, "classes": 3},
    "many alphas": {"alphas": tuple(0.01 * 1.4**k for k in range(16)), "epochs": 3, "seeds": 2, "classes": 0},
    "rmse": {"metric": answers.RMSE, "min_effect": 0.02, "epochs": 3, "classes": 0},
    "no smallest effect": {"min_effect": 0.0, "epochs": 0, "classes": 0, "seeds": 2},
    "baseline alone": {"alphas": (), "epochs": 0, "classes": 0},
    "hostile": {"mark": answers.HOSTILE, "lost": ((0.1, 1),), "epochs": 3, "decays": (0.0, 0.1), "classes": 2},
    "confirmed": {"confirm": True, "epochs": 3, "classes": 2},
    "lenses": {"lenses": True, "epochs": 3, "classes": 0},
    "hostile lenses": {"lenses": True, "mark": answers.HOSTILE, "epochs": 3, "classes": 0, "scores": 3},
}


@cache
def case(name: str) -> Answer:
    settings = dict(CASES[name])
    if settings.pop("lenses", False):
        return answers.with_lenses(**settings)
    return answers.with_confirmation(**settings) if settings.pop("confirm", False) else answers.build(**settings)


@cache
def html_of(name: str) -> str:
    return page(case(name))


class Reader(HTMLParser):
    """Checks that every tag is closed in order, and collects what the page holds."""

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.rows: list[list[str]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        assert len({key for key, _ in attrs}) == len(attrs), f"an attribute twice in <{tag}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag in ("h1", "h2"):
            self.headings.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.words.append(data)
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data
        elif {"h1", "h2"} & set(self.open):
            self.headings[-1] += data


@pytest.mark.parametrize("name", CASES)
def test_a_page_is_whole_self_contained_html(name):
    html = html_of(name)
    read = Reader(html)
    assert html.startswith("<!DOCTYPE html>")
    assert not read.open, "every tag is closed"
    ids = [attrs["id"] for _, attrs in read.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    asked = re.findall(r"url\(#([^)]+)\)", html) + [
        attrs["href"].removeprefix("#") for tag, attrs in read.tags if attrs.get("href") and tag != "image"
    ]
    assert set(asked) <= set(ids), "what is referred to is there, in this page"
    assert all(attrs.get("aria-labelledby") in (None, *ids) for _, attrs in read.tags)
    kinds = {tag for tag, _ in read.tags}
    assert not kinds & {"script", "link", "img", "iframe", "object", "b"}
    assert "<script" not in html.lower()
    pictures = [attrs["href"] for tag, attrs in read.tags if tag == "image"]
    assert len(pictures) == ("lenses" in name) * 2 * 3, "three maps, each for a wide page and for a narrow one"
    assert all(href.startswith("data:image/png;base64,") for href in pictures)
    assert not any(key.startswith("on") or key == "src" for _, attrs in read.tags for key in attrs)
    assert set(re.findall(r"https?://[^\"'\s<]+", html)) <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in html
    for tag, attrs in read.tags:
        assert tag != "svg" or (attrs["role"] == "img" and attrs["aria-label"])
    # Python's words for nothing are no words for a reader.
    words = re.sub(r"loss is nan|arm-\S*-None|None\.", "", " ".join(read.words))
    assert not re.search(r"\b(None|nan|inf|Undefined)\b", words)


@pytest.mark.parametrize("name", CASES)
def test_a_narrow_page_has_blocks_that_name_their_values(name):
    """On a telephone a row of a table is a block without a heading, so each cell with a value has its own name."""
    html = html_of(name)
    read = Reader(html)
    assert "overflow-x" not in html
    assert "nowrap" not in html
    assert all("blocks" in attrs.get("class", "").split() for tag, attrs in read.tags if tag == "table")
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        heads = "".join(re.findall(r"<th\b[^>]*>(.*?)</th>", table.split("</thead>")[0], re.DOTALL))
        for attributes, value in re.findall(r"<td\b([^>]*)>(.*?)</td>", table, re.DOTALL):
            label = re.search(r'data-label="([^"]*)"', attributes)
            assert label or not value or 'class="words"' in attributes, "the words of a verdict need no name"
            # "val accuracy, mean ± sd" stands for "val" below "accuracy, mean ± sd".
            assert label is None or all(word.rstrip(",") in heads for word in label[1].split())
    wide, narrow = (html.count(f'<div class="{kind}"><svg') for kind in ("roomy", "narrow"))
    assert wide == narrow == html.count("<figure>")
    for drawing in re.findall(r'<div class="narrow"><svg [^>]*viewBox="0 0 ([\d.]+)', html):
        assert float(drawing) == NARROW
    sizes = [float(size) for size in re.findall(r"font-size:([\d.]+)px", "".join(re.findall(r"<svg.*?</svg>", html)))]
    # A telephone of 320 px has 288 for a picture, and 268 in the panel of a confirmation.
    assert min(sizes, default=12) * 268 / NARROW > 9


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MEASURE = """
const frame = document.querySelector("iframe");
frame.onload = () => {
  const page = frame.contentDocument, width = frame.clientWidth, wrong = [];
  page.querySelectorAll("details").forEach(one => one.open = true);
  for (const node of page.querySelectorAll("body *")) {
    if (node.closest("svg") && !["svg", "text"].includes(node.tagName)) continue;
    const box = node.getBoundingClientRect();
    if (!box.width) continue;
    const within = node.tagName === "text" ? node.closest("svg").getBoundingClientRect() : {left: 0, right: width};
    if (box.left < within.left - 1 || box.right > within.right + 1) wrong.push(node.outerHTML.slice(0, 120));
    const block = node.tagName !== "text" && getComputedStyle(node).display !== "inline" && node.clientWidth;
    if (block && node.scrollWidth > node.clientWidth + 1)
      wrong.push("inside " + node.outerHTML.slice(0, 120));
  }
  const tables = [...page.querySelectorAll("table")].map(one => one.getBoundingClientRect().width);
  const boxes = [...page.querySelectorAll("figure")];
  const figures = boxes.filter(one => !one.closest(".beside")).map(one => one.getBoundingClientRect().width);
  const out = {width: frame.contentWindow.innerWidth, scroll: page.documentElement.scrollWidth};
  out.wrong = wrong.slice(0, 5);
  const drawings = [...page.querySelectorAll("svg")].filter(one => one.getBoundingClientRect().width);
  const scales = drawings.map(one => one.getBoundingClientRect().width / one.viewBox.baseVal.width);
  out.letters = 11.5 * Math.min(9, ...scales);
  out.twice = drawings.length - boxes.length;
  out.used = Math.min(...figures, Math.max(...tables));
  document.title = JSON.stringify(out);
};
"""


def measured(html: str, width: int, folder) -> dict:
    """How a page is laid out in a frame of this width: chromium does not make windows as narrow as a telephone."""
    frame = f'<iframe style="width:{width}px;height:900px;border:0" srcdoc="{escape(html)}"></iframe>'
    wrapper = folder / "wrapper.html"
    wrapper.write_text(f"<!DOCTYPE html><title></title><body>{frame}<script>{MEASURE}</script>")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=5000"]
    flags += [f"--user-data-dir={folder}", f"--window-size={max(width, 600)},900", "--dump-dom"]
    done = subprocess.run([CHROMIUM, *flags, wrapper.as_uri()], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"<title>(\{.*?)</title>", done.stdout)
    if not found:
        pytest.skip(f"chromium does not run here: {done.stderr[-300:]}")
    return json.loads(unescape(found[1]))


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
@pytest.mark.parametrize("name", ["confirmed", "hostile", "no alpha", "failed", "lenses", "hostile lenses"])
def test_nothing_scrolls_sideways_and_a_wide_page_is_used(name, tmp_path):
    for width in (320, 400):
        found = measured(html_of(name), width, tmp_path)
        assert (found["width"], found["scroll"], found["wrong"], found["twice"]) == (width, width, [], 0)
        assert found["letters"] > 9, "px"
    wide = measured(html_of(name), 1400, tmp_path)
    assert (wide["scroll"], wide["wrong"], wide["twice"]) == (1400, [], 0)
    assert "hostile" in name or wide["used"] > 1200, "tables, and figures with their captions, are as wide as the page"


@pytest.mark.parametrize("name", ["two blocks", "hostile"])
def test_the_same_answer_gives_the_same_bytes(name):
    again = answers.build(**CASES[name])
    assert again is not case(name)
    assert page(again) == html_of(name)
    for view in (markdown, csv_rows, as_json):
        assert view(again) == view(case(name))


def test_the_bytes_do_not_depend_on_the_users_matplotlib_or_on_the_process():
    small = answers.build(seeds=2, epochs=2, classes=2)
    with matplotlib.rc_context({"font.size": 31, "axes.grid": True, "lines.linewidth": 9, "svg.fonttype": "path"}):
        assert plots.dose_response(small) == plots.dose_response(small)
        styled = plots.dose_response(small)
        assert matplotlib.rcParams["font.size"] == 31, "and the user's style is left as it was"
    assert styled == plots.dose_response(small)
    code = (
        "import answers; from mixup_lab.study import plots\n"
        "print(plots.dose_response(answers.build(seeds=2, epochs=2, classes=2)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=answers.__file__.rpartition("/")[0],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.rstrip("\n") == styled


def test_pictures_follow_the_page_and_bring_no_style_of_their_own():
    for name, pictures in (("plain", 4), ("two blocks", 6), ("no alpha", 3)):
        html = html_of(name)
        svgs = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
        assert len(svgs) == 2 * pictures, "each for a wide page and for a narrow one"
        for svg in svgs:
            assert "var(--ink,#" in svg
            assert "var(--grid,#" in svg
            assert "#0a0b0" not in svg, "no sentinel is left"
            assert "<style" not in svg, "it would hold for the whole page"
            assert "metadata" not in svg
            assert "DejaVu" not in svg
            assert svg.count("<text") > 8, "text stays text"


def test_hostile_words_are_shown_and_do_nothing():
    read = Reader(html_of("hostile"))
    shown = answers.HOSTILE.replace("\x00", "\ufffd")
    arm = next(arm for arm in case("hostile").arms if arm.comparison)
    assert any(arm.name.replace("\x00", "\ufffd") in cell for row in read.rows for cell in row)
    words = "".join(read.words)
    assert f"loss is nan {shown}" in words
    assert f"dataset.root{shown}" in words, "settings"
    assert any("class" in word and "<b>&\"'|" in word for word in read.words), "classes, in the picture"
    assert "{{ 7 * 7 }}" in words, "a template within a name is no template"
    md = markdown(case("hostile"))
    outside = re.sub(r"^(`{3,})sh\n.*?\n\1$", "", md, flags=re.DOTALL | re.MULTILINE)
    assert outside.count("<b>") == 0
    assert "&lt;b&gt;&amp;\"'\\|\\`\\$x\\$" in outside
    assert "<script" not in outside
    for line in outside.splitlines():
        if line.startswith("| "):
            assert len(re.findall(r"(?<!\\)\|", line)) in {3, 4, 5, 6, 7, 12}
    counts = [len(re.findall(r"(?<!\\)\|", line)) for line in outside.splitlines() if line.startswith("| arm | seeds")]
    assert counts == [12]
    arms = [
        line for line in outside.splitlines() if re.match(r"\| (baseline|mixup).* (cannot tell|helps|baseline)", line)
    ]
    assert len(arms) == 10
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in arms} == {12}


def test_a_dollar_makes_no_formula():
    drawn = plots.dose_response(answers.build(mark=" $y_2$", has_alpha=False, seeds=1, epochs=0))
    assert ">baseline $y_2$</text>" in drawn


@pytest.mark.parametrize(
    ("plain", "escaped"),
    [
        ("weight_decay=1e-4", "weight_decay=1e-4"),
        ("_x_ __init__", r"\_x\_ \_\_init\_\_"),
        ("a|b\nc", r"a\|b c"),
        ("[x](y) *z* ~s~ `c` \\", r"\[x\](y) \*z\* \~s\~ \`c\` \\"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("# no heading", r"\# no heading"),
        ("12. no list", r"12\. no list"),
        ("+0.31 points", "+0.31 points"),
    ],
)
def test_markdown_shows_words_letter_by_letter(plain, escaped):
    assert text(plain) == escaped


def test_a_command_cannot_leave_its_fence():
    line = "mixup-lab x=```\n```\n<b>"
    md = markdown(replace(answers.build(seeds=1, epochs=0), commands={"repeat": line}))
    assert f"````sh\n{line}\n````" in md


def test_a_hundred_runs_of_a_hundred_epochs_stay_small():
    large = answers.build(seeds=20, epochs=100, classes=100)
    assert sum(len(arm.cells) for arm in large.arms) == 100
    html = page(large)
    assert 50_000 < len(html.encode()) < 350_000
    longer = plots.curves(answers.build(seeds=1, epochs=3000, classes=0))
    assert len(longer) < 150_000, "length of training does not matter"


@pytest.mark.parametrize("name", ["plain", "rmse", "failed", "two blocks", "one seed"])
def test_the_table_says_what_the_answer_says(name):
    answer = case(name)
    read = Reader(html_of(name))
    found = {row[0].replace(" best on val", ""): row for row in read.rows if len(row) == 11}
    assert len(read.rows) > len(answer.arms)
    for arm in answer.arms:
        row = found[arm.name]
        done = sum(cell.status == "ok" for cell in arm.cells)
        assert row[1] == (str(done) if done == len(arm.cells) else f"{done} of {len(arm.cells)}")
        scale, tolerance = (100, 0.0051) if answer.metric.percent else (1, 0.0051)
        for cell, moments in ((row[2], arm.val), (row[3], arm.test)):
            numbers = [float(x) for x in re.findall(r"\d+\.\d+", cell)]
            assert numbers[0] == pytest.approx(scale * moments.mean, abs=tolerance)
            assert ("±" in cell) == (moments.sd is not None) == (len(numbers) == 2)
            assert moments.sd is None or numbers[1] == pytest.approx(scale * moments.sd, abs=tolerance)
            assert cell.endswith(" %") == answer.metric.percent
        assert row[10] == str(arm.trials)
        if arm.comparison is None:
            assert row[4:8] == ["", "", "", ""]
            assert row[8].strip() == "baseline"
            continue
        against = arm.comparison
        assert number(row[4]) == pytest.approx(scale * against.mean, abs=tolerance)
        assert row[4][0] in "+−"
        for cell, pair in ((row[5], against.retraining), (row[6], against.new_data)):
            if pair is None:
                assert cell == "–"
            else:
                assert [number(end) for end in cell.split(" to ")] == pytest.approx(
                    [scale * x for x in pair], abs=tolerance
                )
        assert row[7] == formats.p_value(against.p_holm)
        assert against.words in row[8]
        assert (row[9] == "–") == (against.more_seeds is None)
    md_rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(answer).splitlines()]
    for arm in answer.arms:
        line = next(row for row in md_rows if len(row) == 11 and row[0].removesuffix(" (best on val)") == arm.name)
        assert line[1:8] == found[arm.name][1:8]
        assert line[9:] == found[arm.name][9:]


def number(text_of: str) -> float:
    return float(text_of.replace("−", "-"))


def test_the_order_of_the_page():
    headings = Reader(html_of("confirmed")).headings
    starts = [
        "Confirmed:", "The confirmation", "The study that chose the arm:", "Score by alpha", "Arm by arm",
        "Difference to the baseline", "How training went", "Class by class", "What it cost",
        "Failures and missing pairs", "What was compared", "Data, versions and commands", "How to read this",
    ]  # fmt: skip
    assert [heading.startswith(start) for heading, start in zip(headings, starts, strict=True)] == [True] * len(starts)
    assert Reader(html_of("plain")).headings[0] == case("plain").sentence
    kept = [line[3:] for line in markdown(case("confirmed")).splitlines() if line.startswith("## ")]
    order = [next(k for k, start in enumerate(starts) if heading.startswith(start)) for heading in kept]
    assert order == sorted(order)


def test_a_page_of_nothing_has_no_pictures_and_says_so():
    html = html_of("nothing finished")
    assert "<svg" not in html
    assert "No run has finished yet." in html
    assert "0 of 25 runs" in html
    bare = html_of("no curves, no classes")
    assert bare.count("<svg") == 2 * 2
    assert "How training went" not in bare
    assert "Class by class" not in bare


def test_failures_name_their_logs():
    rows = [row for row in Reader(html_of("failed")).rows if len(row) == 5]
    assert ["mixup-a0.1", "1", "failed", "loss is nan ", "runs/arm-0.1-None/seed=1/error.log"] in rows
    assert "| mixup-a0.1 | 1 | failed | loss is nan | runs/arm-0.1-None/seed=1/error.log |" in markdown(case("failed"))
    answer = case("plain")
    missing = replace(answer.arms[1], cells=tuple(replace(cell, status="missing") for cell in answer.arms[1].cells))
    cut = replace(answer.arms[2], cells=(replace(answer.arms[2].cells[0], status="interrupted"),))
    broken = replace(answer.arms[3], cells=(replace(answer.arms[3].cells[0], status="failed"),))
    found = shown.unfinished(replace(answer, arms=(missing, cut, broken)))
    assert [cell.status for _, cell in found] == ["failed", "interrupted"], "what is missing has no log to look at"


def test_pictures_name_what_they_show():
    labels = set(re.findall(r"<text[^>]*>([^<]*)</text>", html_of("plain")))
    dose = {
        "test accuracy (%)",
        "alpha (0 = baseline), evenly spaced",
        "0.1",
        "one seed",
        "mean, 95 % interval of the mean",
    }
    forest = {"mixup-a0.1", "mean", "95 % interval: retraining", "95 % interval: new data", "smaller than 0.5 points"}
    forest |= {"difference to the baseline in test accuracy (points); right of zero is better"}
    curves = {"epoch", "loss", "accuracy (%)", "validation", "training examples, unmixed", "mixup-a0.4"}
    classes = {"difference to the baseline in recall on test (points); right of zero is better", "class 0 (36)"}
    assert dose | forest | curves | classes <= labels
    assert any(label.startswith("+0.") for label in labels), "the mean as a number"
    for name, label in (
        ("rmse", "difference to the baseline in test rmse; left of zero is better"),
        ("rmse", "test rmse; lower is better"),
        ("rmse", "smaller than 0.02"),
        ("many alphas", "alpha (0 = baseline), logarithmic from 0.01 on"),
        ("two blocks", "optimizer.weight_decay=0.0005"),
        ("no alpha", "method 0.1"),
    ):
        assert f">{label}</text>" in html_of(name), label
    assert ">alpha (" not in html_of("no alpha")
    assert ">smaller than" not in html_of("no smallest effect")


def test_every_seed_is_a_dot():
    def dots(svg: str) -> int:
        return len(re.findall(r"<use [^>]*fill-opacity:0.5[;\"]", svg))

    assert dots(plots.differences(answers.build(seeds=3, epochs=0))) == 4 * 3 + 1, "and one in the key"
    lost = answers.build(seeds=8, epochs=0, lost=((0.1, 3), (0.0, 5)))
    assert dots(plots.differences(lost)) == 4 * 8 - 1 - 4 + 1


def test_a_long_name_of_an_axis_is_folded_not_cut():
    (section, _), name = case("lenses").lenses, "share of the predictions that are neither class"
    for width in (WIDE, NARROW):
        svg = plots.lens_curves(case("lenses"), [replace(section.curves[0], y_label=name)], width=width)
        assert name in " ".join(re.findall(r">([^<>]+)</t", svg))


def test_only_the_largest_changes_of_many_classes_are_drawn():
    answer = answers.build(classes=41, epochs=0, alphas=(0.4,), seeds=2)
    classes, left_out = shown.shown_classes(answer)
    assert (len(classes), left_out) == (30, 11)
    assert [entry.mean for entry in classes] == sorted((entry.mean for entry in classes), reverse=True)
    dropped = set(answer.classes) - set(classes)
    assert max(abs(entry.mean) for entry in dropped) <= min(abs(entry.mean) for entry in classes)
    html = page(answer)
    assert "11 more classes are left out" in html
    assert "11 more classes are left out" in markdown(answer)
    drawn = re.findall(r">(class \d+) \(36\)<", html)
    assert drawn == 2 * [entry.name for entry in classes]


def test_every_block_shows_its_choice():
    answer = case("two blocks")
    names = {arm.id: arm.name for arm in answer.arms}
    chosen = [names[choice.arm] for choice in answer.choices]
    assert len(chosen) == 2
    rows = [row[0] for row in Reader(html_of("two blocks")).rows if row]
    assert [row.removesuffix(" best on val") for row in rows if row.endswith(" best on val")] == chosen
    lines = markdown(answer).splitlines()
    assert [line.split(" (best on val)")[0] for line in lines if "(best on val)" in line] == [f"| {x}" for x in chosen]
    for name in chosen:
        assert f"Recall on test: {name} against its baseline." in lines
        assert f"Recall of each class: {name} against its baseline." in html_of("two blocks")
    assert html_of("two blocks").count("They are not corrected for the number of classes") == 1
    many = answers.build(decays=(0.0, 0.1), alphas=tuple(0.1 * k for k in range(1, 17)), seeds=2, epochs=2)
    assert {choice.arm for choice in many.choices} <= {arm.id for arm in plots.curve_arms(many)[0]}


def test_many_arms_do_not_make_a_thicket_of_curves():
    answer = case("many alphas")
    shown, left_out = plots.curve_arms(answer)
    assert (len(shown), left_out) == (7, 10)
    assert shown[0].baseline is None
    assert answer.choices[0].arm in {arm.id for arm in shown}
    assert "10 more arms are left out" in html_of("many alphas")


def test_csv_holds_every_run():
    answer = case("two blocks")
    rows = list(csv.DictReader(io.StringIO(csv_rows(answer))))
    assert len(rows) == sum(len(arm.cells) for arm in answer.arms)
    tests = {(arm.id, cell.seed): cell.test for arm in answer.arms for cell in arm.cells}
    for row, (arm, cell) in zip(rows, [(a, c) for a in answer.arms for c in a.cells], strict=True):
        assert (row["arm"], row["name"], int(row["seed"]), row["status"]) == (arm.id, arm.name, cell.seed, cell.status)
        assert float(row["test"]) == cell.test
        assert float(row["test/loss"]) == cell.scalars["test/loss"]
        assert float(row["optimizer.weight_decay"]) == arm.settings["optimizer.weight_decay"]
        assert row["aug.alpha"] == ("" if arm.baseline is None else f"{arm.alpha:g}")
        assert row["path"] == cell.path
        if arm.baseline is None:
            assert row["difference"] == ""
        else:
            assert float(row["difference"]) == cell.test - tests[arm.baseline, cell.seed]
    failed = list(csv.DictReader(io.StringIO(csv_rows(case("failed")))))
    assert {row["test"] for row in failed if row["status"] == "failed"} == {""}
    unpaired = [row for row in failed if row["seed"] == "2" and row["aug.alpha"]]
    assert {row["difference"] for row in unpaired} == {""}
    hostile = list(csv.DictReader(io.StringIO(csv_rows(case("hostile")))))
    names = [arm.name.replace("\x00", "\ufffd") for arm in case("hostile").arms for _ in arm.cells]
    assert [row["name"] for row in hostile] == names


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_spreadsheet_runs_nothing_of_the_csv(start):
    answer = case("plain")
    cell = replace(answer.arms[1].cells[0], val=-0.25)
    settings = {"aug": f"{start}1", "aug.alpha": -0.5}
    odd = replace(answer.arms[1], name=f'{start}HYPERLINK("x")', settings=settings, cells=(cell,))
    row = next(csv.DictReader(io.StringIO(csv_rows(replace(answer, arms=(odd,))))))
    shown = start.replace("\r", "\ufffd")
    assert (row["name"], row["aug"]) == (f'\'{shown}HYPERLINK("x")', f"'{shown}1")
    assert (row["aug.alpha"], row["val"]) == ("-0.5", "-0.25"), "numbers stay numbers"
    named = replace(answer, axes={f"{start}x": (1,)}, arms=(replace(odd, settings={f"{start}x": 1}),))
    assert f"'{shown}x" in next(csv.reader(io.StringIO(csv_rows(named))))


def test_an_axis_may_be_called_like_a_column():
    answer = case("plain")
    named = replace(answer, axes={"name": ("x",)}, arms=tuple(replace(a, settings={"name": "x"}) for a in answer.arms))
    row = next(csv.DictReader(io.StringIO(csv_rows(named))))
    assert (row["name"], row["setting:name"]) == ("baseline", "x")


def test_json_holds_the_whole_answer():
    answer = case("confirmed")
    text_of = as_json(answer)
    data = json.loads(text_of)
    assert list(data) == sorted(data)
    assert set(data) == set(Answer.__dataclass_fields__)
    assert data["arms"][1]["comparison"]["differences"] == list(answer.arms[1].comparison.differences)
    assert data["confirmed"]["sentence"] == answer.confirmed.sentence
    assert data["curves"][3]["mean"] == list(answer.curves[3].mean)
    odd = replace(
        answer.arms[1], seconds_per_epoch=math.nan, cost_ratio=math.inf, settings={"path": answers, 1: (1, 2)}
    )
    strict = json.loads(
        as_json(replace(answer, arms=(odd,))), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
    )
    assert strict["arms"][0]["seconds_per_epoch"] is None
    assert strict["arms"][0]["cost_ratio"] is None
    assert strict["arms"][0]["settings"]["1"] == [1, 2]
    assert json.loads(as_json(case("hostile")))["study"] == case("hostile").study.replace("\x00", "\ufffd")


def test_text_that_no_file_can_hold_is_made_visible():
    answer = replace(answers.build(seeds=2, epochs=0, classes=1), study="a\udcffb\x1b[31m\uffff")
    shown = "a\ufffdb\ufffd[31m\ufffd"
    assert shown in page(answer)
    assert shown.replace("[", "\\[") in markdown(answer)
    assert json.loads(as_json(answer))["study"] == shown
    odd = replace(answer.arms[1], name="x\udcff\x00", settings={"aug": "\udcff"})
    both = replace(answer, arms=(answer.arms[0], odd), classes=())
    for made in (page(both), markdown(both), csv_rows(both), as_json(both)):
        made.encode()
        assert "\x00" not in made


def test_numbers_read_well():
    accuracy, rmse = answers.ACCURACY, answers.RMSE
    assert formats.value(0.9722, accuracy) == "97.22 %"
    assert formats.value(None, accuracy) == formats.value(math.nan, accuracy) == "–"
    assert formats.difference(0.0031, accuracy) == "+0.31 points"
    assert formats.difference(-0.0031, accuracy, unit=False) == "−0.31"
    assert formats.difference(-0.00001, accuracy) == "0.00 points", "what rounds to nothing has no sign"
    assert formats.difference(-0.012345, rmse) == "−0.0123"
    assert formats.difference(1234.6, rmse) == "+1235"
    assert formats.value(3.4125e-7, rmse) == "3.413e-07", "tiny numbers keep their digits"
    assert formats.difference(-3.4e-9, rmse) == "−3.40e-09"
    assert formats.interval((-1e-9, 2e-8), rmse) == "−1.00e-09 to +2.00e-08"
    assert formats.spread(Moments(3, 1.2e-7, 3e-9), rmse) == "1.200e-07 ± 3.000e-09"
    assert formats.difference(None, rmse) == "–"
    assert formats.value(2.88512, rmse) == "2.885"
    assert formats.value(12345.6, rmse) == "12346"
    assert formats.interval((-0.0005, 0.0067), accuracy) == "−0.05 to +0.67"
    assert formats.interval((-0.0684, -0.0039), rmse) == "−0.0684 to −0.0039"
    assert formats.interval(None, accuracy) == "–"
    assert formats.spread(answers.moments([0.97, 0.98]), accuracy) == "97.50 ± 0.71 %"
    assert formats.spread(answers.moments([0.97]), accuracy) == "97.00 %"
    assert formats.spread(answers.moments([2.5, 2.5004]), rmse) == "2.50020 ± 0.00028"
    given = (1.0, 0.9999, 0.25, 0.0625, 0.0078, 0.001, 0.0005, 0.00009, None)
    assert [formats.p_value(p) for p in given] == [
        "1",
        "1",
        "0.25",
        "0.062",
        "0.008",
        "0.001",
        "0.0005",
        "< 0.0001",
        "–",
    ]
    times = (0.8249, 12.34, 59.96, 185, 7620, None)
    assert [formats.duration(t) for t in times] == ["0.82 s", "12.3 s", "1 min 00 s", "3 min 05 s", "2 h 07 min", "–"]
    assert formats.magnitude(0.005, accuracy) == "0.5 points"
    assert formats.magnitude(0.02, rmse) == "0.02"
    values = (True, None, 0.1, 1e-4, (1, 2.0), {"a": False}, "x")
    assert [formats.setting(x) for x in values] == ["true", "null", "0.1", "0.0001", "[1, 2]", "{a: false}", "x"]


@pytest.mark.parametrize("name", CASES)
def test_the_terminal_table_fits_80_columns(name):
    out = io.StringIO()
    Console(file=out, width=80, force_terminal=False).print(terminal_table(case(name)))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    whole = " ".join(out.getvalue().split())
    for arm in case(name).arms:
        test = formats.value(arm.test.mean, case(name).metric).replace("–", "-")
        found = [line for line in lines if f" {test} " in line]
        assert found, arm.name
        if arm.comparison and arm.comparison.new_data:
            interval = formats.interval(arm.comparison.new_data, case(name).metric).replace("−", "-")
            line = next(line for line in found if f" {interval} " in line)
            assert arm.comparison.words.split()[0] in line, "the verdict is not cut"
    if "hostile" not in name:
        whole.replace("─", "").encode("ascii")


def test_a_long_name_is_broken_between_settings_in_the_terminal():
    out = io.StringIO()
    Console(file=out, width=80).print(terminal_table(case("two blocks")))
    starts = [
        line.split()[0]
        for line in out.getvalue().splitlines()
        if line.startswith((" mixup", " weight", "mixup", "weight"))
    ]
    assert {"mixup-a0.1,", "weight_decay=0.0001", "weight_decay=0.0005"} <= set(starts)


def test_a_name_is_no_markup_in_the_terminal():
    answer = case("plain")
    odd = replace(answer.arms[1], name="[red]x[/red]")
    out = io.StringIO()
    Console(file=out, width=80).print(terminal_table(replace(answer, arms=(answer.arms[0], odd))))
    assert "[red]x[/red]" in out.getvalue()


def test_showing_needs_neither_torch_nor_pyplot():
    code = (
        "import sys, mixup_lab.study.page, mixup_lab.study.markdown, mixup_lab.study.export, mixup_lab.study.terminal\n"
        "print([name for name in ('torch', 'matplotlib.pyplot', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def written(answer: Answer) -> dict[str, str]:
    """All sentences of the page, of the Markdown and of the terminal; numbers in tables and pictures are left out."""
    html = re.sub(r"<(table|svg|style)\b.*?</\1>", "", page(answer), flags=re.DOTALL)
    lines = [line for line in markdown(answer).splitlines() if not line.startswith("|")]
    return {
        "page": unescape(re.sub(r"<[^>]*>", " ", html)).replace("\u00a0", " "),
        "markdown": "\n".join(lines).replace("\\", ""),
        "terminal": "\n".join([answer.sentence, *answer.details, *answer.problems]),
    }


# Study -> test examples, further right ones than the baseline's by alpha and seed, val by alpha, and what is said.
ZEROS = {
    "equal": (400, {0.4: [0] * 8}, {}, "equal to the baseline's to two decimals, paired over 8 seeds; 95 % interval"),
    "seeds alone": (400, {0.4: [0] * 8}, {}, "8 seeds; the 95 % interval over seeds holds no other value."),
    "tiny": (40_000, {0.4: [1] * 8}, {}, "equal to the baseline's to two decimals"),
    "mean": (400, {0.4: [9, -9] * 4}, {}, "to two decimals, paired over 8 seeds; 95 % interval for new data −"),
    "seed": (400, {0.4: [0, 40, 41, 39, 40, 42, 40, 41]}, {}, "seed 0 (0) lies far from the median +10.00 points"),
    "median": (400, {0.4: [60, 1, -1, 0, 2, -2, 0, -1]}, {}, "seed 0 (+15.00 points) lies far from the median 0."),
    # Each arm is better where val prefers it, so that the other seeds choose the arm that is not better here.
    "luck": (
        400,
        {0.2: [8] * 4 + [0] * 4, 0.4: [0] * 4 + [8] * 4},
        {0.0: [0.5] * 8, 0.2: [0.8] * 4 + [0.7] * 4, 0.4: [0.7] * 4 + [0.801] * 4},
        "+1.00 points against the baseline",
    ),
}


@pytest.mark.parametrize("study", ZEROS)
def test_no_sentence_is_about_0_points(tmp_path, study):
    """A difference that is written as zero is told in words, or not at all."""
    count, gains, vals, words = ZEROS[study]
    hits = {0.0: np.tile(np.arange(count) % 2 == 0, (8, 1))}
    for alpha, numbers in gains.items():
        hits[alpha] = hits[0.0].copy()
        for row, number in zip(hits[alpha], numbers, strict=True):
            row[np.flatnonzero(row == (number < 0))[: abs(number)]] ^= True
    write_study(tmp_path, hits, vals or None)
    for path in tmp_path.rglob("predictions.npz" if study == "seeds alone" else "none"):
        path.unlink()
    answer = analyse(read([tmp_path]), "study", Options(), {})
    for where, text_of in written(answer).items():
        assert words in text_of, where
        assert not re.findall(r".*(?<![\d.])[+−]?0\.00(?!\d| to).*", text_of), where
    assert study != "luck" or "without the luck of choosing this arm nothing is left of it (−" in answer.details[0]
