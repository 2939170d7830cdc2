"""The plan as data."""

from __future__ import annotations

from millrace.ledger.plan import Gate, Plan, PlanStage

PLAN = Plan(
    "leads",
    (
        PlanStage("lead", "leads.lead", "default", kind="fanout", inputs=("path",)),
        PlanStage("kind", "leads.kind", "cpu", 4, "route", "lead", (("lead", True),), None, ("lead",)),
        PlanStage(
            "mail", "leads.mail", "io", 1, "stage", "lead", (), Gate("kind", ("a", "b"), otherwise=True), ("kind",)
        ),
        PlanStage(
            "sum", "leads.sum", "io", 1, "collect", None, (("mail", False),), None, ("mail",), after_collect=True
        ),
    ),
    200,
)


def test_a_plan_comes_back_from_its_text_as_it_was() -> None:
    """The run follows what it reads, not what the job code says today."""
    assert Plan.from_json(PLAN.to_json()) == PLAN


def test_a_plan_is_known_by_what_it_says() -> None:
    """Runs of one graph share one row; a graph that differs in anything is another."""
    assert Plan.from_json(PLAN.to_json()).id == PLAN.id
    assert Plan(PLAN.pipeline, PLAN.stages, 201).id != PLAN.id
    assert Plan(PLAN.pipeline, PLAN.stages[:3], 200).id != PLAN.id
