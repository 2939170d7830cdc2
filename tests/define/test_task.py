"""`@task`: what the decorator takes, what a payload must look like, and what a task tells of itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator  # noqa: TC003 - read at run time, from the signatures
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FilePath

from millrace.define.policy import Backoff
from millrace.define.task import Task, task
from millrace.errors import PayloadError, TooLarge

if TYPE_CHECKING:
    from fractions import Fraction


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Lead(BaseModel):
    name: str
    visits: int = 0


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


@dataclass
class Point:
    x: int
    y: int


def clumsy(value: int) -> int:
    """Stand for a site's own validator with a fault in it."""
    return 1 // value


@task
def sample(  # noqa: PLR0913, PLR0917 - one of each
    month: str,
    day: date = date(2026, 1, 1),
    amount: Decimal = Decimal("1.50"),
    place: Path = Path("here"),
    size: Size = Size.SMALL,
    by: Literal["day", "customer"] = "day",
    limit: Annotated[int, Field(ge=1, le=5)] = 2,
    share: float = 0.5,
    deep: bool = False,  # noqa: FBT001, FBT002 - a word of the command line
    leads: list[Lead] | None = None,
    point: Point | None = None,
    code: int | str | None = None,
) -> str:
    """
    Do nothing with one of each.

    And say so.
    """
    return repr((month, day, amount, place, size, by, limit, share, deep, leads, point, code))


@task
def opened(lead: Open) -> str:
    """Take a model that takes what it does not know."""
    return repr(lead.model_extra)


@task
def faulty(value: Annotated[int, AfterValidator(clumsy)]) -> int:
    """Take a value through a validator that fails."""
    return value


def refusal(text: str | bytes, target: Task[..., Any] = sample) -> str:
    """Return why a payload is refused; as a text and as a value it must be for the same reasons."""
    with pytest.raises(PayloadError) as caught:
        target.check(text)
    return str(caught.value)


def test_calling_a_task_runs_the_function() -> None:
    """A task stays a plain function: that is how it is tested."""
    assert sample("2026-01", limit=3).startswith("('2026-01', datetime.date(2026, 1, 1), Decimal('1.50')")


def test_a_payload_becomes_the_arguments_that_the_signature_asks_for() -> None:
    """JSON knows neither dates nor paths nor models; the function does."""
    payload = sample.check(
        '{"month": "m", "day": "2026-02-03", "amount": "9.90", "place": "/x", "size": "large", "by": "customer", '
        '"limit": 5, "share": 2, "deep": true, "leads": [{"name": "Ada"}], "point": {"x": 1, "y": 2}, "code": "7"}'
    )

    assert sample.arguments(payload) == {
        "month": "m",
        "day": date(2026, 2, 3),
        "amount": Decimal("9.90"),
        "place": Path("/x"),
        "size": Size.LARGE,
        "by": "customer",
        "limit": 5,
        "share": 2.0,
        "deep": True,
        "leads": [Lead(name="Ada")],
        "point": Point(1, 2),
        "code": "7",
    }


def test_only_what_was_given_is_kept_and_defaults_stay_with_the_function() -> None:
    """A default that changes with a release must reach the jobs that wait."""
    assert sample.check(' {"month" : "m"} ') == '{"month":"m"}'
    assert sample.call('{"month":"m"}') == sample("m")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{}", "payload.month: is missing (wanted: text)"),
        ("[]", "payload: must be a JSON object, not a list"),
        ("null", "payload: must be a JSON object, not null"),
        ("5", "payload: must be a JSON object, not a number"),
        ('{"month": 5}', "payload.month: must be text, got 5"),
        (
            '{"month": "m", "limit": "3"}',
            'payload.limit: must be a whole number from 1 to 5, got "3" (without the quotation marks: 3)',
        ),
        ('{"month": "m", "limit": true}', "payload.limit: must be a whole number from 1 to 5, got true"),
        ('{"month": "m", "limit": 2.5}', "payload.limit: must be a whole number from 1 to 5, got 2.5"),
        ('{"month": "m", "limit": 6}', "payload.limit: must be a whole number from 1 to 5, got 6"),
        ('{"month": "m", "limit": 0}', "payload.limit: must be a whole number from 1 to 5, got 0"),
        ('{"month": "m", "day": "soon"}', 'payload.day: must be a date such as "2026-12-31", got "soon"'),
        ('{"month": "m", "deep": "yes"}', 'payload.deep: must be true or false, got "yes"'),
        ('{"month": "m", "by": "custmer"}', '(Did you mean "customer"?)'),
        ('{"month": "m", "size": "larg"}', '(Did you mean "large"?)'),
        ('{"mnth": "m"}', 'payload.mnth: is no field of task sample (Did you mean "month"?)'),
        ('{"month": "m", "leads": [{"name": "A"}, {"nam": "B"}]}', "payload.leads[1].name: is missing"),
        (
            '{"month": "m", "leads": [{"name": "A", "visit": 1}]}',
            "payload.leads[0].visit: is no field of Lead (Did you",
        ),
        ('{"month": "m", "point": {"x": 1, "y": 2, "z": 3}}', "payload.point.z: is no field of Point"),
        ('{"month": "m", "code": [1]}', "payload.code: must be a whole number or text, got [1]"),
        ('{"month": "m", "share": NaN}', "payload.share: is no finite number"),
        ('{"month": "m", "month": "m"}', "payload.month: stands twice"),
    ],
)
def test_a_payload_that_does_not_fit_is_refused_with_the_field_and_a_suggestion(text: str, problem: str) -> None:
    """Whoever submits must learn what to change, before anything is queued."""
    assert problem in refusal(text)


def test_every_field_that_does_not_fit_is_named_at_once() -> None:
    """Nobody wants to be told of one mistake at a time."""
    told = refusal('{"day": 1, "limit": "x", "nothing": 0}')

    assert [part.split(":")[0] for part in told.split("; ")] == [
        "payload.month", "payload.day", "payload.limit", "payload.nothing",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [{"month": 5}, {"limit": 9, "month": "m"}, {"month": "m", "extra": 1}, [], None, "x"])
def test_a_value_and_its_text_get_the_same_verdict(value: object) -> None:
    """Command line, API and load hand over one or the other."""
    with pytest.raises(PayloadError) as caught:
        sample.check_value(value)
    assert str(caught.value) == refusal(json.dumps(value))


def test_too_large_a_payload_is_refused() -> None:
    """The bound holds for the text as it was sent."""
    with pytest.raises(TooLarge):
        sample.check('{"month": "%s"}' % ("m" * 100), max_bytes=100)


def test_a_model_may_take_what_it_does_not_know() -> None:
    """Unknown fields are refused where nothing is said; a model that says otherwise has its way."""
    assert opened.call(opened.check('{"lead": {"name": "A", "more": 1}}')) == "{'more': 1}"


def test_a_fault_in_a_validator_is_a_problem_of_the_payload() -> None:
    """It must not become an internal error of whoever takes the submission."""
    assert (
        refusal('{"value": 0}', faulty)
        == "payload: could not be checked by task faulty: ZeroDivisionError: integer division or modulo by zero"
    )


def test_a_stored_payload_that_no_longer_fits_is_told_from_an_error_of_the_function() -> None:
    """After a change of the signature the job waits as `payload` instead of failing."""
    with pytest.raises(PayloadError, match=r"payload\.when: is no field"):
        sample.call('{"month":"m","when":"now"}')


def test_words_of_the_command_line_are_read_by_their_parameter() -> None:
    """People write k=v; the kept payload is the one that the API would have got."""
    words = {
        "month": "2026", "day": "2026-02-03", "amount": "1.10", "limit": "003", "share": "1", "deep": "yes",
        "leads": '[{"name": "Ada"}]', "point": "null", "code": "7", "size": "large",
    }  # fmt: skip

    assert json.loads(sample.from_words(words)) == {
        "month": "2026", "day": "2026-02-03", "amount": "1.10", "limit": 3, "share": 1, "deep": True,
        "leads": [{"name": "Ada"}], "point": None, "code": "7", "size": "large",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"month": "m", "limit": "many"}, 'payload.limit: must be a whole number from 1 to 5, got "many"'),
        ({"month": "m", "limit": "9"}, "payload.limit: must be a whole number from 1 to 5, got 9"),
        ({"month": "m", "share": "nan"}, "payload.share: is no finite number"),
        ({"month": "\udcff"}, "payload.month: holds half of a surrogate pair"),
        ({"mont": "m"}, 'payload.mont: is no field of task sample (Did you mean "month"?)'),
    ],
)
def test_words_that_do_not_fit_get_the_verdict_of_a_payload(words: dict[str, str], problem: str) -> None:
    """The same mistake reads the same on every way in."""
    with pytest.raises(PayloadError) as caught:
        sample.from_words(words)
    assert problem in str(caught.value)


def test_a_task_describes_itself_as_json() -> None:
    """`tasks show` and the API print it."""
    told = json.loads(json.dumps(sample.describe()))

    assert told["name"] == "sample"
    assert told["summary"] == "Do nothing with one of each."
    assert told["line"] == sample.line
    assert told["file"] == __file__
    assert told["schema"]["required"] == ["month"]
    assert told["parameters"][0] == {"name": "month", "type": "text", "required": True, "default": None}
    types = {parameter["name"]: parameter["type"] for parameter in told["parameters"]}
    assert types["limit"] == "whole number from 1 to 5"
    assert types["by"] == '"day" or "customer"'
    assert types["leads"] == "list of Lead objects or null"


def test_the_decorator_keeps_the_policy() -> None:
    """What stands beside the function is what runs it."""
    kept = task(
        name="month-end", queue="cpu", retries=0, backoff="10s..15m", timeout="1h30m", retry_on=OSError,
        never_on=[KeyError, ValueError], on_crash="fail", needs="crm",
    )(clumsy)  # type: ignore[call-overload]  # fmt: skip

    assert kept.name == "month-end"
    assert kept.policy.retries == 0
    assert kept.policy.backoff == Backoff(10, 900)
    assert str(kept.policy.backoff) == "10s..15m"
    assert kept.policy.timeout_s == 5400
    assert kept.policy.retry_on == (OSError,)
    assert kept.policy.never_on == (KeyError, ValueError)
    assert kept.policy.needs == ("crm",)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"retries": -1}, ValueError, "retries must lie between 0 and 100, not -1"),
        ({"retries": "3"}, TypeError, "retries must be a whole number, not '3'"),
        ({"retries": True}, TypeError, "retries must be a whole number"),
        ({"timeout": "soon"}, ValueError, 'timeout: "soon" is not a duration'),
        ({"timeout": 0}, ValueError, "timeout must be longer than nothing"),
        ({"timeout": timedelta(seconds=-1)}, ValueError, "timeout must be longer than nothing"),
        ({"timeout": float("nan")}, ValueError, "timeout must be longer than nothing"),
        ({"timeout": []}, TypeError, "timeout must be a duration"),
        ({"backoff": "10s-15m"}, ValueError, 'write for example "10s..15m"'),
        ({"backoff": "15m..10s"}, ValueError, "must not be longer than the second"),
        ({"backoff": 10}, TypeError, "backoff must be a text"),
        ({"queue": "no queue"}, ValueError, 'queue "no queue" is no name'),
        ({"queue": None}, TypeError, "queue must be a string"),
        ({"name": ""}, ValueError, "the name of a task"),
        ({"retry_on": "OSError"}, TypeError, "retry_on must be an exception class"),
        ({"never_on": (SystemExit,)}, TypeError, "never_on must be an exception class"),
        ({"on_crash": "ignore"}, ValueError, "on_crash must be one of retry, fail"),
        ({"needs": 5}, TypeError, "needs must be the name of a service"),
    ],
)
def test_a_policy_that_cannot_be_is_refused_where_it_stands(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    """A mistake in the decorator is found at load, with its line, and not when the first job fails."""
    with pytest.raises(error, match=words.replace("(", r"\(")):
        task(**options)(clumsy)


def test_only_functions_can_be_tasks() -> None:
    """A class or a bound method would surprise whoever loads the job in another process."""
    with pytest.raises(TypeError, match="@task stands before a function"):
        task(Lead)
    with pytest.raises(ValueError, match="the name of a task"):
        task(lambda: None)


def bare(value):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D103
    return value


async def later() -> None:
    """Be async."""


def many() -> Iterator[int]:
    """Yield."""
    yield 1


def starred(*values: int) -> None:
    """Take any number."""


def named(**values: int) -> None:
    """Take any name."""


def first(value: int, /) -> None:
    """Take by position."""


def unknown(value: Fraction) -> None:
    """Take what is imported for type checkers only."""


def misused(value: int = Field(ge=1)) -> None:
    """Take a Field for a default."""


def foreign(value: Task[[], None]) -> None:
    """Take what pydantic cannot check."""


def unwritable(value: Callable[[], int]) -> None:
    """Take what JSON cannot carry."""


@pytest.mark.parametrize(
    ("fn", "words"),
    [
        (bare, "parameter value has no type: write value: str"),
        (later, "is an async function"),
        (many, "yields, but a task returns one result"),
        (starred, r"\*values takes any number of values"),
        (named, r"\*\*values takes any name"),
        (first, "parameter value stands before the '/'"),
        (unknown, "parameter value: its type Fraction needs Fraction, which is not there when the file runs"),
        (misused, r"parameter value has a Field as its default: write value: Annotated\["),
        (foreign, "parameter value: its type cannot be checked: "),
        (unwritable, "parameter value: its type cannot be written in JSON"),
    ],
)
def test_a_signature_that_cannot_be_a_payload_is_refused_by_its_parameter(fn: Any, words: str) -> None:
    """The function can still be called plainly, but nothing could ever be submitted for it."""
    with pytest.raises(TypeError, match=words):
        _ = task(fn).shape


@task
def oddly_named(*, json: int, model_config: int = 1, _private: int = 2, copy: str = "c") -> tuple[int, int, int, str]:
    """Take names that a model would not have."""
    return json, model_config, _private, copy


def test_any_parameter_name_is_a_field() -> None:
    """Authors do not know which names a validation library keeps for itself."""
    assert oddly_named.call(oddly_named.check('{"json": 1, "_private": 5}')) == (1, 1, 5, "c")


def given_a_file(path: FilePath, spare: FilePath | None = None, name: str = "") -> None:
    """Take files that must exist."""


def test_an_existing_file_of_the_command_line_is_named_from_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever types it stands in a folder of their own; the daemon that opens it stands in the site's."""
    (tmp_path / "leads.csv").touch()
    monkeypatch.chdir(tmp_path)
    words = {"path": "leads.csv", "spare": "leads.csv", "name": "leads.csv"}
    there = str(tmp_path / "leads.csv")
    assert json.loads(task(given_a_file).from_words(words)) == {"path": there, "spare": there, "name": "leads.csv"}


def test_a_word_that_could_be_no_file_is_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file has so long a name; a text of the command line may."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").touch()
    long = "x" * 5000
    assert json.loads(task(given_a_file).from_words({"path": "here", "name": long}))["name"] == long
    with pytest.raises(PayloadError, match="could not be checked by task given_a_file: OSError") as told:
        task(given_a_file).from_words({"path": long})
    assert len(str(told.value)) < 400
