"""What is said of a comparison: on a terminal, as Markdown, in pictures."""

import io
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from markdown_it import MarkdownIt
from matplotlib.text import Text
from rich.cells import cell_len
from rich.console import Console

from made_comparisons import a_comparison, a_curve, comparison_of, trained_arm, untrained_arm
from spectrum_ft.record_files import to_json
from spectrum_ft.records.comparisons import Comparison, CurvePoint, Estimate
from spectrum_ft_cli.showing.comparisons import draw_pictures, show_comparison
from spectrum_ft_reports.comparisons.markdown import comparison_markdown
from spectrum_ft_reports.comparisons.pictures import PICTURES, draw, pictures_of
from spectrum_ft_reports.comparisons.terminal import print_comparison
from spectrum_ft_reports.comparisons.views import comparison_view
from spectrum_ft_reports.drawing.files import picture_bytes
from spectrum_ft_reports.drawing.labels import spread
from spectrum_ft_reports.parts.fitted_tables import Column, Entry, fit, folded
from train_program import Spectrum

Approved = Callable[[str, str], str]
SVG = "{http://www.w3.org/2000/svg}"
OF_ARMS = ("accuracy-by-memory", "loss-by-step", "loss-by-time")
"""The pictures that name every arm that trains."""
HOSTILE = "</script>\x1b[2J\u202e[red]$\\frac{1}{2}$ <b>&amp;|`x`"


def rendered(comparison: Comparison, width: int, *, encoding: str = "utf-8") -> str:
    """What a console of `width` columns without colours shows."""
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    console = Console(file=file, width=width, highlight=False, no_color=True)
    print_comparison(console, comparison_view(comparison, "runs/comparison"))
    file.flush()
    lines = raw.getvalue().decode(encoding).splitlines()
    assert max(map(cell_len, lines)) <= width
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def hostile_comparison() -> Comparison:
    """A comparison in which a stranger named everything."""
    made = a_comparison()
    arms = (
        untrained_arm(HOSTILE, 0.5, 1.0),
        trained_arm(f"{HOSTILE}2", 0.6, 0.9, mib=1000, step_seconds=1.0, layers=(1, 0, 2)),
        trained_arm("日本語の名前" * 9, 0.7, 0.9, mib=900, step_seconds=1.0, dominated=True),
        trained_arm("", 0.7, 0.9, mib=800, step_seconds=1.0),
    )
    asked = replace(made.contrasts[0].asked, arm=HOSTILE, against=f"{HOSTILE}2")
    settings = replace(
        made.settings,
        training=replace(made.settings.training, data=HOSTILE),
        evaluation=replace(made.settings.evaluation, data=HOSTILE),
    )
    return replace(
        made,
        source=HOSTILE,
        settings=settings,
        arms=arms,
        contrasts=(replace(made.contrasts[0], asked=asked),),
        verdicts=(f"{HOSTILE} is better.",),
        differences=(HOSTILE,),
        environment=replace(made.environment, device=HOSTILE, platform=HOSTILE),
        command=f"spectrum compare '{HOSTILE}'",
    )


def empty_comparison() -> Comparison:
    """A comparison in which nothing was measured."""
    base = untrained_arm("base", 0.5, 1.0)
    trained = trained_arm("spectrum-25", 0.5, 1.0, mib=0, step_seconds=0.0, trained=0, lr=None)
    arms = (
        replace(base, accuracy=None, loss=None, samples=None),
        replace(
            trained,
            accuracy=None,
            loss=None,
            samples=None,
            seconds=None,
            tokens_per_second=None,
            peak_memory_bytes=None,
            total=None,
            steps=None,
            result_bytes=None,
            curves=(),
        ),
    )
    told = replace(
        a_comparison().contrasts[0],
        low=None,
        high=None,
        p=None,
        p_adjusted=None,
        models_low=None,
        models_high=None,
        finding="cannot be told",
    )
    return a_comparison(arms=arms, contrasts=(told,), verdicts=(), differences=())


CASES = {
    "comparison-60": lambda: rendered(a_comparison(), 60),
    "comparison-80": lambda: rendered(a_comparison(), 80),
    "comparison-120": lambda: rendered(a_comparison(), 120),
    "comparison-80-ascii": lambda: rendered(a_comparison(), 80, encoding="ascii"),
    "comparison-markdown": lambda: comparison_markdown(comparison_view(a_comparison())),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_comparison_reads_as_it_was_approved(name: str, approved: Approved) -> None:
    text = CASES[name]()
    assert text == approved(name, text)


@pytest.mark.parametrize("width", [1, 20, 40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_nothing_is_wider_than_the_console_and_nothing_of_a_stranger_gets_through(
    width: int, encoding: str
) -> None:
    shown = rendered(hostile_comparison(), width, encoding=encoding)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    if width >= 40:
        assert "[red]" in re.sub(r"\s", "", shown)


def test_a_name_is_folded_and_not_cut() -> None:
    name = "a-plan-file-with-a-name-as-long-as-anyone-could-want:and-more"
    arm = trained_arm(name, 0.5, 0.9, mib=1000, step_seconds=1.0, dominated=True)
    comparison = a_comparison(arms=(arm, *a_comparison().arms), contrasts=())
    shown = rendered(comparison, 60)
    table = shown[shown.index("───") : shown.index("best of its column")]
    column = "".join(line[2:16].strip() for line in table.splitlines()[1:])
    assert column.startswith(name)


def test_where_there_are_colours_they_tell_the_best_and_the_dominated() -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=120, force_terminal=True, color_system="standard")
    print_comparison(console, comparison_view(a_comparison()))
    shown = stream.getvalue()
    assert "\x1b[1m88.2\x1b[0m" in shown
    assert "\x1b[2mrandom-25\x1b[0m" in shown
    assert "bold: best of its column; dim: another arm" in shown
    assert "88.2*" not in shown


def test_figures_that_read_the_same_are_best_alike_and_a_single_one_is_not() -> None:
    arms = [
        trained_arm(name, 0.70001 + i / 1e6, 0.5, mib=1126 + i, step_seconds=1.0)
        for i, name in enumerate(("a", "b"))
    ]
    columns = {c.title: c for c in comparison_view(a_comparison(arms=tuple(arms))).columns}
    assert [figure.best for figure in columns["accuracy, %"].figures] == [True, True]
    assert [figure.best for figure in columns["memory"].figures] == [True, True]
    (alone,) = comparison_view(a_comparison(arms=(arms[0],))).columns[0].figures
    assert not alone.best


def test_what_was_not_measured_is_a_dash_or_no_column_at_all() -> None:
    comparison = empty_comparison()
    shown = rendered(comparison, 80)
    assert "–" in comparison_markdown(comparison_view(comparison))
    assert "95 % interval" not in shown
    assert "memory" not in shown[: shown.index("─")]
    assert "cannot be told" in rendered(comparison, 120)
    assert rendered(a_comparison(arms=(), contrasts=(), verdicts=()), 60)
    general = Estimate(mean=3.25, low=None, high=None, values=(3.25,))
    arms = (untrained_arm("votes:16", 0.5, 1.0, general_loss=general, samples=9.75),)
    titles = [column.title for column in comparison_view(a_comparison(arms=arms)).columns]
    assert {"general loss", "answers sampled"} <= set(titles)


def test_every_figure_reads_the_same_on_a_terminal_and_in_markdown() -> None:
    comparison = a_comparison()
    view = comparison_view(comparison)
    shown, written = rendered(comparison, 200), comparison_markdown(view)
    figures = [figure.text for column in view.columns for figure in column.figures]
    for group in view.contrasts:
        for row in group.rows:
            figures += [row.difference, row.interval, row.p, row.models]
    assert len(figures) > 80
    for figure in figures:
        assert figure in shown, figure
        assert figure in written, figure
    assert "no room here for" not in shown


def test_a_setting_tells_minutes_or_how_steps_differ() -> None:
    made = a_comparison()
    minutes = replace(made, settings=replace(made.settings, minutes=10.0))
    assert "10 minutes of training in steps of 8 rows" in comparison_view(minutes).setting
    fewer = (replace(made.arms[3], steps=7), *made.arms)
    assert "7 to 120 steps of 8 rows" in comparison_view(replace(made, arms=fewer)).setting
    asked = replace(made.settings.evaluation, limit=50)
    settings = replace(made.settings, evaluation=asked)
    view = comparison_view(replace(made, settings=settings, contrasts=()))
    assert view.setting.endswith("at most 50 questions")


@pytest.mark.parametrize(
    "name",
    [HOSTILE, "@someone", "#12", "GH-7", "www.example.org", "https://example.org", "[a](b)", "a|b"],
)
@pytest.mark.parametrize("start", ["", "- ", "1. ", "1234) ", "# ", "> ", "+ ", "=== "])
def test_markdown_shows_a_strangers_words_as_they_are(name: str, start: str) -> None:
    said = start + name
    arm = trained_arm(said, 0.5, 0.9, mib=1000, step_seconds=1.0)
    comparison = a_comparison(arms=(arm,), verdicts=(said,), differences=())
    text = comparison_markdown(comparison_view(comparison))
    page = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    tree = ElementTree.fromstring(f"<html>{page}</html>")
    expected = comparison_view(comparison).verdicts[0].strip()
    assert expected in ["".join(item.itertext()) for item in tree.iter("li")]
    assert expected in ["".join(cell.itertext()) for cell in tree.iter("td")]
    allowed = {"html", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}
    assert {element.tag for element in tree.iter() if isinstance(element.tag, str)} <= allowed | {
        "strong",
        "pre",
        "code",
    }
    # GitHub calls people and links addresses after Markdown is done.
    assert not re.search(r"@someone|https?://example|www\.example|#12|GH-7", text.split("```")[0])


def test_a_command_stays_in_its_block() -> None:
    comparison = a_comparison(command="spectrum compare '```\n# x'")
    text = comparison_markdown(comparison_view(comparison))
    assert text.endswith("\n````sh\nspectrum compare '```\\n# x'\n````\n")


def test_a_table_drops_its_highest_rank_first() -> None:
    def column(title: str, rank: int) -> Column:
        return Column(title=title, entries=(Entry("12345678"),), rank=rank)

    columns = [column("a", 0), column("b", 2), column("c", 1)]
    wide, narrow = fit(columns, 29, "-"), fit(columns, 28, "-")
    assert wide.hidden == ()  # three times eight, two gaps of two, one mark
    assert narrow.hidden == ("b",)
    assert fit(columns, 5, "-").hidden == ("b", "c")


def test_names_break_after_their_punctuation() -> None:
    assert folded("spectrum-25:snr_mp", 12) == ["spectrum-25:", "snr_mp"]
    assert folded("abcdefgh", 3) == ["abc", "def", "gh"]
    assert folded("", 3) == [""]


def test_labels_spread_as_little_as_can_be() -> None:
    assert spread([0.2, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.2, 0.5], abs=1e-12)
    # Three of one height stand around it; two at the edge stand inside.
    assert spread([0.5, 0.5, 0.5], 0.1, 0.0, 1.0) == pytest.approx([0.4, 0.5, 0.6], abs=1e-12)
    assert spread([1.0, 1.0], 0.1, 0.0, 1.0) == pytest.approx([0.9, 1.0], abs=1e-12)
    assert spread([0.0] * 5, 0.5, 0.0, 1.0) == pytest.approx([0, 0.25, 0.5, 0.75, 1], abs=1e-12)
    assert spread([], 0.1, 0.0, 1.0) == []


def labels(comparison: Comparison, which: str) -> list[Text]:
    """The names of arms in a picture."""
    (axes,) = draw(comparison, which).axes
    names = tuple(arm.name for arm in comparison.arms)
    return [text for text in axes.texts if text.get_text().startswith(names)]


@pytest.mark.parametrize("which", OF_ARMS)
@pytest.mark.parametrize("count", [1, 4, 12, 20])
def test_no_name_in_a_picture_stands_over_another(which: str, count: int) -> None:
    comparison = comparison_of(count, prefix="an-arm")
    found = labels(comparison, which)
    assert len(found) == count
    boxes = [text.get_window_extent() for text in found]
    figure = found[0].get_figure(root=True)
    assert figure is not None
    for one, other in combinations(boxes, 2):
        assert not one.shrunk(0.9, 0.9).overlaps(other.shrunk(0.9, 0.9))
    for box in boxes:
        assert figure.bbox.x0 <= box.x0
        assert box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0
        assert box.y1 <= figure.bbox.y1


def write_picture(comparison: Comparison, which: str | tuple[str, ...], path: Path) -> None:
    """The pictures `which` as a file of the kind that its name says."""
    names = (which,) if isinstance(which, str) else which
    path.write_bytes(picture_bytes(draw(comparison, *names), path.suffix))


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def test_a_png_is_twice_as_sharp_as_it_is_wide_on_a_page(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    write_picture(a_comparison(), "accuracy-by-memory", path)
    width, height = png_size(path)
    assert width == 1800
    assert 900 <= height <= 1400


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_a_picture_written_twice_is_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    paths = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
    for path in paths:
        write_picture(a_comparison(), "loss-by-time", path)
    first, second = (path.read_bytes() for path in paths)
    assert first == second
    assert b"<dc:date>" not in first


def svg_texts(path: Path) -> list[str]:
    tree = ElementTree.parse(path)
    return ["".join(element.itertext()) for element in tree.iter(f"{SVG}text")]


@pytest.mark.parametrize("which", OF_ARMS)
def test_an_svg_holds_the_names_as_text(tmp_path: Path, which: str) -> None:
    path = tmp_path / "picture.svg"
    comparison = a_comparison()
    write_picture(comparison, which, path)
    texts = svg_texts(path)
    for arm in comparison.arms:
        if arm.steps is not None:
            assert arm.name in texts
    untrained = [text for text in texts if text.startswith(("base", "few-shot:5"))]
    assert len(untrained) == (2 if which == "accuracy-by-memory" else 0)


def test_a_picture_takes_a_strangers_words_literally(tmp_path: Path) -> None:
    path = tmp_path / "picture.svg"
    name = "$x^2$ <b>&lt;\x1b[2J"
    arm = trained_arm(name, 0.5, 0.9, mib=1000, step_seconds=1.0)
    comparison = replace(hostile_comparison(), arms=(arm, *hostile_comparison().arms))
    write_picture(comparison, pictures_of(comparison), path)
    texts = svg_texts(path)
    assert texts.count("$x^2$ <b>&lt;\\x1b[2J") == len(OF_ARMS)
    assert "<script" not in path.read_text("utf-8")
    write_picture(comparison, pictures_of(comparison), path.with_suffix(".png"))


def test_drawing_leaves_the_users_own_settings_alone(tmp_path: Path) -> None:
    with matplotlib.rc_context({"svg.fonttype": "path", "font.size": 31.0}):
        before = dict(matplotlib.rcParams.copy())
        write_picture(a_comparison(), "loss-by-step", tmp_path / "mine.svg")
        after = dict(matplotlib.rcParams.copy())
        assert after == before
    write_picture(a_comparison(), "loss-by-step", tmp_path / "plain.svg")
    assert (tmp_path / "mine.svg").read_bytes() == (tmp_path / "plain.svg").read_bytes()


def test_an_arm_that_diverges_hides_no_other() -> None:
    wild = tuple(CurvePoint(step=s, seconds=float(s), loss=3.0 * 10.0**s) for s in range(1, 40))
    arm = trained_arm("wild", 0.1, 9.0, mib=1000, step_seconds=1.0, curves=(wild,))
    calm = trained_arm("calm", 0.8, 0.5, mib=1000, step_seconds=1.0)
    (axes,) = draw(a_comparison(arms=(arm, calm)), "loss-by-step").axes
    assert axes.get_ylim()[1] < 1e4
    assert any("cut at the top" in text.get_text() for text in axes.texts)


@pytest.mark.parametrize("losses", [(0.0,), (0.0, 0.0), (2.0,) * 30, (1e-9, 5.0)])
def test_courses_of_any_kind_can_be_drawn(losses: tuple[float, ...], tmp_path: Path) -> None:
    curve = tuple(CurvePoint(step=i + 1, seconds=0.0, loss=x) for i, x in enumerate(losses))
    arm = trained_arm(
        "only",
        0.0,
        0.0,
        mib=0,
        step_seconds=0.0,
        curves=(curve, a_curve(1.0, 1.0, 0, 50), ()),
    )
    arm = replace(arm, accuracy=Estimate(mean=0.0, low=None, high=None, values=(0.0,)))
    write_picture(a_comparison(arms=(arm,)), PICTURES, tmp_path / "picture.png")
    assert rendered(a_comparison(arms=(arm,)), 60)


def test_without_accuracy_the_loss_is_drawn_and_without_anything_nothing() -> None:
    arms = tuple(replace(arm, accuracy=None) for arm in a_comparison().arms)
    (axes,) = draw(a_comparison(arms=arms), "accuracy-by-memory").axes
    assert axes.get_ylabel() == "held-out loss, nats a token"
    assert pictures_of(empty_comparison()) == ()
    untrained = a_comparison(arms=a_comparison().arms[:2], contrasts=())
    assert pictures_of(untrained) == ("accuracy-by-memory",)
    assert draw(untrained, "accuracy-by-memory").axes


@pytest.mark.parametrize(
    ("name", "comparison", "words"),
    [
        ("picture.gif", a_comparison(), "cannot be written as .gif"),
        ("picture", a_comparison(), "without an ending"),
        ("report.markdown", a_comparison(), "end its name in"),
        ("picture.png", empty_comparison(), "nothing to draw"),
        ("picture.svg", empty_comparison(), "a comparison with results is needed"),
        ("nowhere/picture.png", a_comparison(), "no such folder"),
        ("nowhere/report.md", a_comparison(), "no such folder"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused(
    name: str, comparison: Comparison, words: str, tmp_path: Path, spectrum: Spectrum
) -> None:
    record, folder = tmp_path / "comparison.json", tmp_path / "folder"
    record.write_text(to_json(comparison), "utf-8")
    folder.mkdir()
    done = spectrum("report", str(record), "-o", str(folder / name))
    assert done.returncode == 1
    assert words in done.stderr
    assert done.stderr.startswith("Error: ")
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["report.md", "report.PNG", "report.svg", "report.html"])
def test_a_report_is_written_by_its_ending_and_not_overwritten(
    name: str, tmp_path: Path, spectrum: Spectrum
) -> None:
    record, path = tmp_path / "comparison.json", tmp_path / "folder" / name
    record.write_text(to_json(a_comparison()), "utf-8")
    path.parent.mkdir()
    assert spectrum("report", str(record), "-o", str(path)).returncode == 0
    before = path.read_bytes()
    done = spectrum("report", str(record), "-o", str(path))
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert spectrum("report", str(record), "-o", str(path), "--force").returncode == 0
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [name]


def test_a_comparison_is_shown_and_its_pictures_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_comparison(a_comparison(), str(tmp_path))
    assert "No difference shown between hybrid-25 and qlora" in capsys.readouterr().out
    for _ in range(2):  # a comparison that goes on draws them anew
        paths = draw_pictures(a_comparison(), tmp_path)
    assert [path.name for path in paths] == [f"{name}.png" for name in PICTURES]
    assert all(png_size(path)[0] == 1800 for path in paths)


def test_showing_a_comparison_does_not_load_what_draws_it() -> None:
    code = (
        "import sys, spectrum_ft_cli.showing.comparisons\n"
        "sys.exit('matplotlib' in sys.modules or 'torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
