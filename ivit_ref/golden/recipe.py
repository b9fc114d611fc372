"""How a case can be made again from a few numbers: large sets are kept as a seed and digests."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np

from ivit_ref.errors import FileError, IvitError
from ivit_ref.golden.directed import groups
from ivit_ref.golden.group import Group
from ivit_ref.golden.random_groups import random_groups
from ivit_ref.ir import Array, Graph, Node, TensorType, Value
from ivit_ref.models import model_named, random_model
from ivit_ref.registry import lookup
from ivit_ref.verify import ALLOWED, FLOATS

MOST_IMAGES = 64
RESULT = "result"
"""What the result of an operator's vectors is called, as in its ONNX function: an input may be called ``y``."""


def node_graph(group: Group) -> tuple[Graph, dict[str, Array]]:
    """The graph of one node that a group of vectors goes through, and what it is given."""
    types = [TensorType(str(array.dtype), array.shape) for array in group.inputs.values()]
    inputs = tuple(Value(n, t, group.quants.get(n)) for n, t in zip(group.inputs, types, strict=True))
    definition = lookup(group.op)
    meaning = definition.result_quant([v.quant for v in inputs], types, group.attributes)
    output = Value(RESULT, definition.result_type(types, group.attributes), meaning)
    node = Node(group.op, tuple(group.inputs), (output,), group.attributes, group.op)
    metadata = {"profile": group.profile} if group.profile else {}
    metadata |= {FLOATS: ALLOWED} if definition.floats else {}
    return Graph(group.op, inputs, (RESULT,), (), (node,), metadata), dict(group.inputs)


def again(suite: str, profile: str, generator: Mapping[str, Any], who: str) -> tuple[Graph, dict[str, Array]]:
    """Graph and inputs of a case by its generator: random vectors, or a published model with random weights."""
    try:
        return _again(suite, profile, generator, who)
    except FileError:
        raise
    except IvitError as error:
        raise FileError(f"{who}: {error}") from error


def _again(suite: str, profile: str, generator: Mapping[str, Any], who: str) -> tuple[Graph, dict[str, Array]]:
    kind, seed, name, count = (generator.get(key) for key in ("kind", "seed", "name", "count"))
    if kind == "model" and isinstance(seed, int) and isinstance(name, str) and isinstance(count, int):
        return published(name, profile, seed, count, who)
    return node_graph(the_group(suite, profile, generator, "", who))


def the_group(suite: str, profile: str, generator: Mapping[str, Any], case_id: str, who: str) -> Group:
    """The group of vectors that a generator makes: a random one, or the directed one that a case of that id was made of."""
    kind, seed, name, count = (generator.get(key) for key in ("kind", "seed", "name", "count"))
    if kind == "random" and isinstance(seed, int) and isinstance(name, str) and isinstance(count, int):
        found = next((g for g in random_groups(suite, profile, seed, count) if g.name == name), None)
    elif kind == "directed" and case_id:
        found = next((g for g in groups(suite, profile) if g.case_id == case_id), None)
    else:
        raise FileError(
            f"{who}: a generator must be directed, random or model with seed, count and name, but found {generator}"
        )
    if found is None:
        raise FileError(f"{who}: the generator must make a group of vectors, but there is none such: {dict(generator)}")
    return found


def published(name: str, profile: str, seed: int, count: int, who: str) -> tuple[Graph, dict[str, Array]]:
    """A published model with random weights, and that many random images."""
    if count > MOST_IMAGES:
        raise FileError(f"{who}: the images must be at most {MOST_IMAGES}, but found {count}")
    graph = random_model(model_named(name), profile, seed=seed).bind(N=count)
    image = graph.inputs[0]
    lengths = [d for d in image.type.shape if isinstance(d, int)]
    return graph, {image.name: random_image(seed, lengths)}


def random_image(seed: int, shape: list[int]) -> Array:
    """Pixels from -2 to 2 in steps of 1/64: exact in float32, and of a bit stream that NumPy keeps for ever."""
    raw = np.random.PCG64(seed).random_raw(prod(shape))
    pixels: Array = np.asarray(raw % np.uint64(257), np.float32) / np.float32(64) - np.float32(2)
    return pixels.reshape(shape)
