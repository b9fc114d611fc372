"""``ivit-ref error``: how far an integer operator is from the real function that it stands for, and for which scales it is."""

from __future__ import annotations

import argparse
from typing import Any

from ivit_ref.cli.common import Commands, Progress, add_json, report
from ivit_ref.errors import InputError
from ivit_ref.methods import ROLES, methods
from ivit_ref.profiles import PROFILES
from ivit_ref.study import error, plot, refusals, sweep
from ivit_ref.study.text import sweep_text, text


def register(commands: Commands) -> None:
    """Declare the command."""
    parser = commands.add_parser("error", help="measure how far an operator is from the real function", description=__doc__)
    names = "Shiftmax, ShiftGELU, ILayerNorm, Requantize, ShiftExp, IntDiv, IntSqrt, or another method's, as IBertSoftmax"
    parser.add_argument("name", metavar="OPERATOR", help=names)
    parser.add_argument("--scale", type=float, metavar="S", help="what a step of the input is worth; of Requantize, the ratio")
    parser.add_argument("--bits", type=int, default=8, metavar="8|16", help="the width of the input's codes (default: 8)")
    parser.add_argument(
        "--profile", nargs="+", choices=list(PROFILES), default=["qat"], metavar="NAME", help="one or more; default: qat"
    )
    others = "; ".join(f"{role}: {', '.join(methods(role)[1:])}" for role in ROLES)
    beside = f"other methods of the same role, beside it; one that does not take such inputs is told, and left out ({others})"
    parser.add_argument("--against", nargs="+", default=[], metavar="METHOD", help=beside)
    parser.add_argument(
        "--length", type=int, metavar="N", help="rows of this length, too; in a sweep, only (default there: 197)"
    )
    parser.add_argument("--rows", type=int, default=100, metavar="N", help="random rows of each kind and length (default: 100)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="what random rows come from (default: 0)")
    parser.add_argument(
        "--sweep", nargs="?", const="", metavar="LOW:HIGH:COUNT", help="over many scales, with the limits that are hit"
    )
    parser.add_argument("--plot", metavar="FILE.svg|png", help="draw the error over the whole range of inputs")
    add_json(parser)
    parser.set_defaults(command=command)


def command(args: argparse.Namespace) -> int:
    """Run it."""
    what = {"bits": args.bits, "profiles": args.profile, "against": args.against}
    what |= {"length": args.length, "rows": args.rows, "seed": args.seed}
    if args.sweep is not None:
        return _sweep(args, what)
    refused = refusals(args.name, args.against, scale=args.scale, bits=args.bits, length=args.length)
    what["against"] = [name for name in args.against if name not in refused]
    if args.plot is not None:
        plot(args.plot, args.name, scale=args.scale, **what)
    progress = Progress(0, "batches")
    measured = error(args.name, scale=args.scale, done=_told(progress), **what)
    progress.close()
    facts = {"bits": args.bits, "rows": args.rows, "seed": args.seed, "subjects": [m.facts() for m in measured]}
    facts["refused"] = refused
    report(args, facts, "\n\n".join([text(measured), *(f"{name}: refused: {why}" for name, why in refused.items())]))
    return 0


def _sweep(args: argparse.Namespace, what: dict[str, Any]) -> int:
    for name in ("scale", "plot"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name}: must be left out with --sweep, but found {getattr(args, name)}")
    progress = Progress(0, "values")
    swept = sweep(args.name, over=_range(args.sweep) if args.sweep else None, done=_told(progress), **what)
    progress.close()
    facts = {"bits": args.bits, "rows": args.rows, "seed": args.seed, "subjects": [s.facts() for s in swept]}
    report(args, facts, sweep_text(swept))
    return 0


def _told(progress: Progress) -> Any:
    def done(count: int, total: int) -> None:
        progress.total = total
        progress.update(count)

    return done


def _range(text: str) -> tuple[float, float, int]:
    try:
        low, high, count = text.split(":")
        return float(low), float(high), int(count)
    except ValueError:
        raise InputError(f"--sweep: must be LOW:HIGH:COUNT, but found {text!r}") from None
