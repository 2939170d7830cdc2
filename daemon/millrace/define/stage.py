"""
A stage: a task whose parameters name what it needs, stages and inputs of its pipeline. It stays a plain function, is
called like one, and is tested by calling it.
"""

from __future__ import annotations

import collections.abc
import inspect
import keyword
import types
import typing
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, ParamSpec, TypeVar, Unpack, overload

from millrace.define.results import Results
from millrace.define.signature import Parameter, read_parameters, read_returns
from millrace.define.task import Task
from millrace.errors import RouteLabel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from millrace.define.items import Items
    from millrace.define.options import StageOptions
    from millrace.define.pipeline import Pipeline
    from millrace.define.policy import Policy
    from millrace.define.reading import Reading
    from millrace.define.shape import Shape
    from millrace.errors import Problem

Kind = Literal["stage", "fanout", "route", "collect"]
P = ParamSpec("P")
R = TypeVar("R")
P2 = ParamSpec("P2")
R2 = TypeVar("R2")

_ROUTE: Final = "decorate it with .route"
_STREAMS: Final = (collections.abc.Iterator, collections.abc.Generator)


class Need(NamedTuple):
    """
    One parameter of a stage.

    Args:
        name: The stage or the input that it names.
        required: Whether it has no default; the default stands in for a stage that was skipped.
        default: That default.
        results: Whether it takes the values of all records, as `Results[T]`.
        of: The type of the value; for results, of each of them.
    """

    name: str
    required: bool
    default: Any
    results: bool
    of: Any


class Gate(NamedTuple):
    """
    The branch of a route that a stage stands in.

    Args:
        route: The short name of the route.
        labels: The answers of the route that lead here.
        otherwise: Whether all answers lead here that no other branch names.
    """

    route: str
    labels: tuple[str, ...] = ()
    otherwise: bool = False


class Stage(Task[P, R]):
    """
    A task within a pipeline.

    Args:
        fn: The function; a generator fans out.
        pipeline: Where it belongs.
        name: Its short name, a Python name; that of the function when None.
        policy: How it is run.
        kind: What it is for; "stage" becomes "fanout" for a generator.
        gate: The branch that it stands in.
    Raises: TypeError or ValueError, if the function or the name cannot be a stage.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        pipeline: Pipeline,
        *,
        name: str | None = None,
        policy: Policy | None = None,
        kind: Kind = "stage",
        gate: Gate | None = None,
    ) -> None:
        if not inspect.isfunction(fn):
            raise TypeError(f"a stage is a function, not {fn!r}: the decorator stands right above `def`")
        short = fn.__name__ if name is None else name
        if not _is_word(short):
            raise ValueError(f"{short!r} cannot be the name of a stage: other stages ask for it as a parameter")
        super().__init__(fn, f"{pipeline.name}.{short}", policy)
        self.pipeline = pipeline
        self.stage = short
        self.gate = gate
        self._declared: Kind = kind

    def __repr__(self) -> str:
        return f"<stage {self.name}>"

    if not TYPE_CHECKING:  # to a type checker, what is not there is simply not there

        def __getattr__(self, name: str) -> Any:
            """Say what is missing where branches are hung on a stage that is no route."""
            if name in {"to", "otherwise"}:
                raise AttributeError(f'stage "{self.stage}" is no route, and only a route has branches: {_ROUTE}')
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @cached_property
    def kind(self) -> Kind:
        """What it is for: "stage", "fanout", "route" or "collect"."""
        if self._declared != "stage" or not self.streams:
            return self._declared
        return "fanout"

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """
        What the function takes.

        Raises: TypeError that names the parameter, if it cannot be given by name.
        """
        return read_parameters(self.fn, may_yield=True)

    @cached_property
    def needs(self) -> tuple[Need, ...]:
        """
        The stages and inputs that its parameters name, in their order.

        Raises: TypeError that names the parameter.
        """
        return tuple(_need(parameter) for parameter in self.parameters)

    @cached_property
    def returns(self) -> Any:
        """
        The type of its value; for a fan-out, of each item; Any when the function does not say.

        Raises: TypeError, if what it says is no type, or a generator's is that of no stream.
        """
        annotation = self._annotation
        if self.kind != "fanout" or annotation is Any:
            return annotation
        origin = typing.get_origin(annotation) or annotation
        if origin not in {*_STREAMS, collections.abc.Iterable}:
            raise TypeError("yields, so what it returns is written Iterator[…], with the type of one item")
        return next(iter(typing.get_args(annotation)), Any)

    @cached_property
    def shape(self) -> Shape:
        """
        The form of its arguments, but for results, which the runner hands in.

        Raises: TypeError that names the parameter.
        """
        from millrace.define.shape import Shape

        taken = {need.name for need in self.needs if need.results}
        return Shape(self.name, [one for one in self.parameters if one.name not in taken], closed=False)

    def misfit(self, value: object, text: str) -> list[Problem]:
        """
        Hold a value against the type that the function announces, as strictly as the stages after it read it.

        A function that announces nothing is believed, and so is one whose type pydantic cannot check. What no stage
        asks for may have a JSON form that is for people only, such as "12 %" for a number.

        Args:
            value: What the function returned; text is its JSON.
        Returns: What is wrong with each field of it. Never raises.
        """
        problems = self.reading.problems(text)
        return [] if problems and not self._is_asked_for and self.reading.holds(value) else problems

    def validate_item(self, raw: object) -> tuple[str | None, tuple[Problem, ...]]:
        """
        Check one item of a fan-out, as it comes from a file: `"5"` is a number, a mapping is a model.

        Returns: The item as JSON text and no problems; or None, and what is wrong with each field. Never raises.
        """
        return self.items.check(raw)

    @cached_property
    def items(self) -> Items:
        """
        The form of a fan-out's items.

        Raises: TypeError, if their type cannot be checked.
        """
        from millrace.define.items import Items

        return Items(self.stage, self.returns)

    @cached_property
    def reading(self) -> Reading:
        """How its values are read as the type that it announces; a fan-out's are its items."""
        from millrace.define.reading import Reading

        return Reading(self.returns, f"stage {self.stage}")

    def describe(self) -> dict[str, Any]:
        """Return what `pipelines show` and the API tell of it, but for its place in the graph."""
        policy = self.policy
        return {
            "name": self.stage,
            "task": self.name,
            "kind": self.kind,
            "summary": self.summary,
            "needs": [
                {"name": n.name, "required": n.required, "results": n.results, "input": n.name in self.pipeline.inputs}
                for n in self.needs
            ],
            "gate": {**self.gate._asdict(), "labels": list(self.gate.labels)} if self.gate else None,
            "queue": policy.queue,
            "retries": policy.retries,
            "timeout_s": policy.timeout_s,
            "backoff": str(policy.backoff) if policy.backoff else None,
            "on_crash": policy.on_crash,
            "services": list(policy.needs),
            "file": self.file,
            "line": self.line,
        }

    @cached_property
    def _is_asked_for(self) -> bool:
        return any(need.name == self.stage for other in self.pipeline.declared for need in other.needs)

    @cached_property
    def _annotation(self) -> Any:
        return read_returns(self.fn)

    @cached_property
    def streams(self) -> bool:
        """Whether it fans out. A plain function may return an iterator instead of being a generator."""
        if inspect.isgeneratorfunction(inspect.unwrap(self.fn)):
            return True
        try:
            return (typing.get_origin(self._annotation) or self._annotation) in _STREAMS
        except TypeError:  # told as a flaw, with all others
            return False


class Route(Stage[P, R]):
    """A stage whose value, a label, says which of its branches are taken."""

    def to(self, *labels: str, **options: Unpack[StageOptions]) -> Callable[[Callable[P2, R2]], Stage[P2, R2]]:
        """
        Make a function the branch that is taken when the route returns one of these labels.

        Args:
            labels: One or more; the options are those of `Pipeline.stage`.
        Raises: TypeError or ValueError that names the argument.
        """
        if not labels or not all(map(_is_label, labels)):
            given = ", ".join(getattr(label, "__name__", repr(label)) for label in labels) or "none"
            raise TypeError(f'.to takes one or more labels, such as @{self.stage}.to("large"), not {given}')
        return self._branch(Gate(self.stage, labels), options)

    @overload
    def otherwise(self, fn: Callable[P2, R2], /) -> Stage[P2, R2]: ...

    @overload
    def otherwise(
        self, fn: None = None, /, **options: Unpack[StageOptions]
    ) -> Callable[[Callable[P2, R2]], Stage[P2, R2]]: ...

    def otherwise(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """
        Make a function the branch that is taken when no other one is. The options are those of `Pipeline.stage`.

        Raises: TypeError or ValueError that names the argument.
        """
        branch = self._branch(Gate(self.stage, otherwise=True), options)
        return branch(fn) if fn is not None else branch

    def _branch(self, gate: Gate, options: Mapping[str, Any]) -> Callable[[Callable[P2, R2]], Stage[P2, R2]]:
        policy, name = self.pipeline.policy_of(options), options.get("name")
        return lambda fn: self.pipeline.add(Stage(fn, self.pipeline, name=name, policy=policy, gate=gate))


def _is_word(name: Any) -> bool:
    return isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)


def _is_label(label: Any) -> bool:
    return isinstance(label, str) and bool(label)


def label_of(value: object) -> str:
    """
    Return the label that a route answered: a text, or the enum's member that stands for one.

    Raises: RouteLabel.
    """
    label = value.value if isinstance(value, Enum) else value
    if not isinstance(label, str):
        raise RouteLabel(f"a route returns the label of a branch, a text, and not {value!r:.200}")
    return label


def _need(parameter: Parameter) -> Need:
    taken = _bare(parameter.annotation)
    results = taken is Results or typing.get_origin(taken) is Results
    of = next(iter(typing.get_args(taken)), Any) if results else parameter.annotation
    return Need(parameter.name, parameter.required, parameter.default, results, of)


def _bare(annotation: Any) -> Any:
    """Return a type without its notes, and without the None that its default is: `Results[int] | None = None`."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _bare(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        members = [member for member in typing.get_args(annotation) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation
