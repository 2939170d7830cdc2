"""The score of a lead: what it says of single leads, and its figures over all of them against a separate script."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from millrace.errors import PayloadError

if TYPE_CHECKING:
    from millrace.define.registry import Registry
    from millrace.define.task import Task

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLE: Final = ROOT / "jobs" / "samples" / "leads.csv"
REAL: Final = ROOT.parent / "shared" / "data" / "leads.csv"
FIGURES: Final = {
    SAMPLE: {
        "leads": 24, "grades": {"A": 4, "B": 6, "C": 6, "D": 8}, "points": 840,
        "mean_of_buyers": 61.888889, "mean_of_others": 18.866667,
    },
    REAL: {
        "leads": 9240, "grades": {"A": 866, "B": 2114, "C": 3484, "D": 2776}, "points": 279_203,
        "mean_of_buyers": 45.705981, "mean_of_others": 20.504314,
    },
}  # fmt: skip


@pytest.fixture
def lead_score(jobs: Registry) -> Task[..., Any]:
    """The task, as the daemon finds it."""
    return jobs.find("lead_score")


@pytest.fixture(params=[SAMPLE, REAL], ids=["sample", "real"])
def leads(request: pytest.FixtureRequest) -> Path:
    """Each file of leads that is there: ours always, the large public one beside the repository when it is."""
    path: Path = request.param
    if not path.is_file():
        pytest.skip(f"{path.name} of the public data is not beside the repository")
    return path


def plain_figures(path: Path) -> dict[str, Any]:
    """Return the figures of the separate script, which is loaded from its file and shares nothing with the job."""
    spec = importlib.util.spec_from_file_location("plain_lead_score", Path(__file__).with_name("plain_lead_score.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures: dict[str, Any] = module.plain_figures(str(path))
    return figures


def converted(path: Path) -> list[str]:
    """Return the lines that the converter writes, run as the documentation runs it."""
    command = [sys.executable, "-m", "jobs.lead_score", str(path)]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, timeout=60).stdout.splitlines()


def bought(path: Path) -> set[str]:
    """Return the ids of the leads that bought."""
    lines = path.read_text(encoding="utf-8").splitlines()[1:]
    return {line.split(",", 1)[0] for line in lines if line.rstrip().endswith(",1")}


def area_under_curve(buyers: list[int], others: list[int]) -> float:
    """Return the share of pairs in which the buyer has more points, ties counted half."""
    points = Counter(others)
    won = sum(sum(n for other, n in points.items() if other < mine) + points[mine] / 2 for mine in buyers)
    return won / (len(buyers) * len(others))


def test_every_lead_is_scored_as_the_separate_script_scores_it(leads: Path, lead_score: Task[..., Any]) -> None:
    """Through the converter and the payload check, as `submit --lines` sends them: nothing lost, nothing doubled."""
    scores = [lead_score.call(lead_score.check(line)) for line in converted(leads)]
    buyers = bought(leads)
    of_buyers = [score.points for score in scores if score.prospect_id in buyers]
    of_others = [score.points for score in scores if score.prospect_id not in buyers]

    assert len({score.prospect_id for score in scores}) == len(scores)
    assert plain_figures(leads) == {
        "leads": len(scores),
        "grades": {"A": 0, "B": 0, "C": 0, "D": 0} | Counter(score.grade for score in scores),
        "points": sum(score.points for score in scores),
        "mean_of_buyers": round(sum(of_buyers) / len(of_buyers), 6),
        "mean_of_others": round(sum(of_others) / len(of_others), 6),
    }
    assert area_under_curve(of_buyers, of_others) > 0.85


def test_the_figures_are_those_that_are_written_down(leads: Path) -> None:
    """A change of a weight must show here, and the docstring of the job tells of the real ones."""
    assert plain_figures(leads) == FIGURES[leads]


def test_a_lead_of_which_little_is_known_is_scored(lead_score: Task[..., Any]) -> None:
    """Missing values are ordinary; the job must not fail for them."""
    score = lead_score.call('{"prospect_id":"x"}')

    assert (score.prospect_id, score.points, score.grade) == ("x", 18, "D")


def test_case_and_spaces_of_a_source_do_not_matter(lead_score: Task[..., Any]) -> None:
    """The real data writes one source in several ways."""
    plain, odd = (lead_score(prospect_id="x", lead_source=source) for source in ("Reference", " REFERENCE "))

    assert plain == odd
    assert plain.points > lead_score(prospect_id="x").points


def test_points_stay_between_0_and_100(lead_score: Task[..., Any]) -> None:
    """The best and the worst that the rules can say lie outside, and are cut."""
    best = lead_score(
        prospect_id="x", lead_origin="Lead Add Form", lead_source="Youtube Channel", occupation="Working Professional",
        specialization="E-commerce", total_time=2000, total_visits=9, page_views=2,
    )  # fmt: skip
    worst = lead_score(
        prospect_id="x", lead_origin="Landing Page Submission", lead_source="Other", total_time=5, total_visits=1,
        page_views=9,
    )  # fmt: skip

    assert (best.points, best.grade) == (100, "A")
    assert (worst.points, worst.grade) == (0, "D")


@pytest.mark.parametrize(
    ("lead", "problem"),
    [
        ({}, "payload.prospect_id: is missing"),
        ({"prospect_id": "x", "total_visits": "3"}, 'payload.total_visits: must be a whole number from 0 on, got "3"'),
        ({"prospect_id": "x", "total_time": -1}, "payload.total_time: must be a whole number from 0 on, got -1"),
        (
            {"prospect_id": "x", "Occupation": "Student"},
            "payload.Occupation: is no field of task lead_score (Did you mean",
        ),
    ],
)
def test_a_lead_that_does_not_fit_is_refused_before_it_is_queued(
    lead: dict[str, object], problem: str, lead_score: Task[..., Any]
) -> None:
    """A wrong type in the source must not become a wrong score."""
    with pytest.raises(PayloadError) as caught:
        lead_score.check(json.dumps(lead))
    assert problem in str(caught.value)


def test_a_number_that_is_none_is_refused_and_not_dropped(tmp_path: Path, lead_score: Task[..., Any]) -> None:
    """The converter leaves judgement to the check, which names the field."""
    table = tmp_path / "leads.csv"
    header = SAMPLE.read_text(encoding="utf-8").splitlines()[0]
    table.write_text(f"{header}\nx,API,Google,many,1,1,,,0\n", encoding="utf-8")

    with pytest.raises(PayloadError, match=r'payload\.total_visits: .* got "many"'):
        lead_score.check(converted(table)[0])
