"""Backends: a Python function, ONNX Runtime, or what another program left on disk.

A function takes ``(inputs, graph)``: arrays by name, and the graph that they go into, whose nodes carry their attributes and
whose constants carry the weights. It gives arrays by name: the outputs of the graph, and any other of its tensors it likes. An
empty answer says that the graph is none of its business. For an operator's vectors, and node by node, the graph has one node.
A function that takes ``(inputs)`` alone is made for one graph and is run as a whole only.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ivit_ref.arrays import is_file
from ivit_ref.compare.waiting import within
from ivit_ref.errors import InputError, MissingExtra
from ivit_ref.ir import Array, Graph
from ivit_ref.onnx_io import to_model

Function = Callable[..., Mapping[str, Array]]


@dataclass(frozen=True)
class Backend:
    """A function, what it is called in messages, and how many seconds an answer may take (None: any number)."""

    function: Function
    name: str
    timeout: float | None = None

    def __call__(self, inputs: Mapping[str, Array], graph: Graph, place: str = "") -> dict[str, Array]:
        """What it answers for the case or node at ``place``, after the checks that do not need golden values.

        It gets copies and is copied: it may reuse both.
        """
        answer = self.answer({name: array.copy() for name, array in inputs.items()}, graph, place)
        masked = np.ma.MaskedArray
        return {n: np.array(a) if isinstance(a, np.ndarray) and not isinstance(a, masked) else a for n, a in answer.items()}

    def answer(self, inputs: dict[str, Array], graph: Graph, place: str = "") -> dict[str, Array]:
        """The same without copies: the arrays are those that the function got and gave."""
        given: tuple[Any, ...] = (inputs, graph) if self.takes_graphs else (inputs,)
        try:
            with redirect_stdout(sys.stderr):  # stdout is the report's
                answer = within(self.timeout, lambda: self._named(self.function(*given), graph, place), self.at(place))
        except (MissingExtra, InputError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise InputError(f"{self.at(place)}: must answer, but raised {_told(error)}") from error
        for name in graph.outputs if answer else ():
            if name not in answer:
                raise InputError(f"{self.at(place)}: must give the output {name!r}, but gave {', '.join(answer)}")
        return answer

    def at(self, place: str) -> str:
        """How messages begin."""
        return f"backend {self.name}" + (f" ({place})" if place else "")

    @property
    def takes_graphs(self) -> bool:
        """Whether it takes the graph, and so can be run node by node; a function that cannot be asked is taken to."""
        try:
            kinds = [p.kind for p in inspect.signature(self.function).parameters.values()]
        except Exception:
            return True
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in positional for kind in kinds) > 1

    def _named(self, answer: object, graph: Graph, place: str) -> dict[str, Any]:
        """Plain arrays by name, as they are now."""
        if inspect.iscoroutine(answer):
            answer.close()
        if not isinstance(answer, Mapping):
            raise InputError(f"{self.at(place)}: must answer arrays by name, but gave {type(answer).__name__}")
        plain: dict[str, Any] = {}
        for name in answer:
            if not isinstance(name, str) or name not in graph.values:
                known, found = ", ".join(graph.outputs), name if isinstance(name, (str, int)) else type(name).__name__
                raise InputError(f"{self.at(place)}: a name must be one of the graph, such as {known}, but found {found!r}")
            plain[name] = answer[name]
        return plain


def backend_named(actual: str, timeout: float | None = None) -> Backend | None:
    """The backend that ``onnxruntime``, ``package.module:function`` or ``file.py:function`` names; None for a path."""
    if actual == "onnxruntime":
        return Backend(onnxruntime, actual, timeout)
    module, colon, function = actual.rpartition(":")
    if is_file(Path(actual)) or is_file(Path(actual), folder=True) or not colon or not function.isidentifier():
        return None
    found = vars(_module(module)).get(function)
    if not callable(found):
        raise InputError(f"backend: {module} must have a function of that name, but found no {function!r}")
    return Backend(found, actual, timeout)


def _module(name: str) -> ModuleType:
    try:
        if name.endswith(".py"):
            return _module_of_file(Path(name))
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)  # a console script does not look where it is run, python -m does
        with redirect_stdout(sys.stderr):
            return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise InputError(f"backend: {name} must be importable, but raised {_told(error)}") from error


def _told(error: BaseException) -> str:
    """An error in one line, with the place in the backend's own code."""
    try:
        reason = " ".join(str(error).split()) or "no message"
    except Exception:
        reason = "a message that cannot be read"
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).parent.name != "compare"]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {reason}{where}"


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    name = f"ivit_ref_backend_{path.stem}"  # a file may be called as a module that others need
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with redirect_stdout(sys.stderr):
        spec.loader.exec_module(module)
    return module


def onnxruntime(inputs: Mapping[str, Array], graph: Graph) -> dict[str, Array]:
    """Every tensor of the exported model in ONNX Runtime."""
    try:
        import onnxruntime as runtime
    except ImportError as error:
        raise MissingExtra("backend onnxruntime: needs onnxruntime, but it is missing: pip install 'ivit-ref[ort]'") from error
    names = tuple(node.output.name for node in graph.nodes)
    model = to_model(replace(graph, outputs=names)).SerializeToString()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return dict(zip(names, session.run(None, dict(inputs)), strict=True))
