"""`Pipeline`: stages that ask for what they need by parameter name, checked and drawn before the first run."""

from __future__ import annotations

import inspect
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from millrace.define.graph import Graph, build
from millrace.define.inputs import Inputs
from millrace.define.mermaid import mermaid
from millrace.define.options import checked_defaults, policy_of
from millrace.define.policy import read_name
from millrace.define.stage import Route, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Unpack

    from millrace.define.options import PipelineOptions, StageOptions
    from millrace.define.policy import Policy
    from millrace.define.stage import Kind
    from millrace.define.trial import Trial

P = ParamSpec("P")
R = TypeVar("R")
L = TypeVar("L", bound=str | Enum)


class Pipeline:
    """
    A graph of stages, read from the names of their parameters.

    Args:
        name: Unique among the pipelines of the site.
        inputs: What a run is given: a type, or a pair of type and default, by name.
        options: The policy that its stages have unless they say otherwise: queue, retries, backoff, timeout, retry_on,
            never_on and on_crash as for `@task`.
    Raises: TypeError or ValueError that names the argument.
    """

    def __init__(self, name: str, inputs: Mapping[str, Any] | None = None, **options: Unpack[PipelineOptions]) -> None:
        self.name = read_name(name, "the name of a pipeline")
        self.given = Inputs(self.name, {} if inputs is None else inputs)
        self.inputs = {one.name: one for one in self.given.parameters}
        self.stages: dict[str, Stage[..., Any]] = {}  # by short name, in the order in which they are written
        self.declared: list[Stage[..., Any]] = []  # all of them, also two of one name
        self.defaults = checked_defaults(options)
        self.file, self.line, self.summary = _where_called()

    def __repr__(self) -> str:
        return f"<pipeline {self.name}>"

    @overload
    def stage(self, fn: Callable[P, R], /) -> Stage[P, R]: ...

    @overload
    def stage(self, fn: None = None, /, **options: Unpack[StageOptions]) -> Callable[[Callable[P, R]], Stage[P, R]]: ...

    def stage(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """
        Make a function a stage. One that yields fans out: each item is a record, and what needs it runs per record.

        Args:
            fn: The function, when the decorator stands without arguments.
            options: name, when it is not the function's; queue, retries, backoff, timeout, retry_on, never_on, on_crash
                and needs as for `@task`; what is left out is the pipeline's.
        Returns: The stage, which is called like the function.
        Raises: TypeError or ValueError that names the argument.
        """
        return self._decorator(Stage, "stage", fn, options)

    @overload
    def route(self, fn: Callable[P, L], /) -> Route[P, L]: ...

    @overload
    def route(self, fn: None = None, /, **options: Unpack[StageOptions]) -> Callable[[Callable[P, L]], Route[P, L]]: ...

    def route(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """
        Make a function a stage that returns a label; what is decorated with its `.to(…)` and `.otherwise` follows it.

        Args and errors are those of `stage`.
        """
        return self._decorator(Route, "route", fn, options)

    @overload
    def collect(self, fn: Callable[P, R], /) -> Stage[P, R]: ...

    @overload
    def collect(
        self, fn: None = None, /, **options: Unpack[StageOptions]
    ) -> Callable[[Callable[P, R]], Stage[P, R]]: ...

    def collect(self, fn: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        """
        Make a function a stage that runs once, when no record is unsettled: `points: Results[int]` has all values.

        Args and errors are those of `stage`.
        """
        return self._decorator(Stage, "collect", fn, options)

    @cached_property
    def graph(self) -> Graph:
        """
        The order of the stages and what each waits for; asked for when all stages are there.

        Raises: PipelineFlawed with everything that is wrong.
        """
        return build(self)

    def check_inputs(
        self,
        text: str | bytes | None = None,
        *,
        payload: object = None,
        words: Mapping[str, str] | None = None,
        max_bytes: int | None = None,
    ) -> str:
        """
        Check what a run is given, in one of three forms.

        Args:
            text: JSON text.
            payload: Parsed JSON; an empty object when nothing is given.
            words: The `name=value` words of a command line, each read by the type of its input.
            max_bytes: The most bytes of text that the site takes; None means any number.
        Returns: All inputs as canonical JSON, with the defaults of those that were not given.
        Raises: PayloadError that names each input which does not fit; TooLarge.
        """
        if text is not None:
            return self.given.check(text, max_bytes=max_bytes)
        if words is not None:
            return self.given.from_words(words)
        return self.given.check_value({} if payload is None else payload)

    def describe(self) -> dict[str, Any]:
        """Return what `pipelines show` and the API tell of it, as JSON, the stages in the order in which they run."""
        graph = self.graph
        return {
            "name": self.name,
            "summary": self.summary,
            "inputs": self.given.describe(),
            "stages": [{**self.stages[name].describe(), "scope": graph.scope[name]} for name in graph.order],
            "mermaid": mermaid(self),
            "file": self.file,
            "line": self.line,
        }

    def try_it(self, **inputs: Any) -> Trial:
        """
        Run the whole pipeline in memory, without daemon, queue or network.

        Args:
            inputs: As a run is given them, as Python values.
        Returns: What came of it: status, values, dead records.
        Raises: PipelineFlawed; PayloadError that names the input which does not fit.
        """
        from millrace.define.trial import try_it

        return try_it(self, inputs)

    def policy_of(self, options: Mapping[str, Any]) -> Policy:
        """Return the policy of a stage: its own options over the pipeline's."""
        return policy_of(options, self.defaults)

    def add(self, stage: Stage[P, R]) -> Stage[P, R]:
        """Take a stage in; whether it fits the others shows when all are there."""
        self.declared.append(stage)
        self.stages.setdefault(stage.stage, stage)
        self.__dict__.pop("graph", None)
        return stage

    def _decorator(
        self, make: type[Stage[..., Any]], kind: Kind, fn: Callable[..., Any] | None, options: Mapping[str, Any]
    ) -> Any:
        policy, name = self.policy_of(options), options.get("name")

        def decorated(inner: Callable[..., Any]) -> Stage[..., Any]:
            return self.add(make(inner, self, name=name, policy=policy, kind=kind))

        return decorated(fn) if fn is not None else decorated


def _where_called() -> tuple[str, int, str]:
    """Return file and line of the `Pipeline(…)` in the job file, and the first line of that file's docstring."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    if frame is None:
        return "", 0, ""
    doc = inspect.cleandoc(frame.f_globals.get("__doc__") or "")
    return frame.f_code.co_filename, frame.f_lineno, next(iter(doc.splitlines()), "")
