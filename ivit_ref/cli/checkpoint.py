"""What the commands that read a checkpoint share: the options for its architecture, and reading it with progress."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ivit_ref.arrays import LazyArrays
from ivit_ref.checkpoints import State
from ivit_ref.cli.common import Progress
from ivit_ref.errors import InputError
from ivit_ref.ir import Array
from ivit_ref.models import MODELS, Config, recognise


def add_architecture(parser: argparse.ArgumentParser) -> None:
    """The options for what a state dict does not show."""
    group = parser.add_argument_group("for a checkpoint")
    group.add_argument("--model", metavar="NAME", help=f"the published model that it is: {', '.join(MODELS)}")
    group.add_argument("--num-heads", type=int, metavar="H", help="attention heads of a ViT that is not published")
    group.add_argument("--image-size", metavar="HxW", help="needed only where the shapes do not show it")


def architecture(args: argparse.Namespace, state: State) -> Config:
    """What the state dict and the options say together."""
    image = None
    if args.image_size is not None:
        match = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", args.image_size)
        if not match:
            raise InputError(f"--image-size: must be HxW, for example 224x224, but found {args.image_size!r}")
        image = int(match[1]), int(match[2])
    return recognise(state, model=args.model, heads=args.num_heads, image=image)


@contextmanager
def counted(state: State) -> Iterator[State]:
    """The same state dict; every array that is asked for moves the progress on."""
    progress, seen = Progress(len(state.arrays), "arrays"), set[str]()

    def read(key: str) -> Array:
        array = state.arrays[key]
        seen.add(key)
        progress.update(len(seen))
        return array

    try:
        yield State(LazyArrays(state.arrays, read), state.source)
    finally:
        progress.close()
