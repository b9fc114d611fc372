"""What ``ivit-ref doctor`` prints for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ivit_ref.cli.common import event_totals, table
from ivit_ref.doctor.finding import Finding

SHOWN_EVENTS = 8
LEGEND = (
    "  differ: of the integers, by largest at most; alone: when the node is given the simulation's integers;",
    "  left: when float32 on un-rounded quotients has had its say; carried: the difference comes from nodes before",
)
NARROW = ("Quantize", "Requantize", "RequantizeAdd", "Shiftmax")
"""What float32 holds without loss: everything else may need more than its 24 bits."""


def text(facts: dict[str, Any], findings: Sequence[Finding]) -> str:
    """The whole report: what changes results first, the longest part last."""
    parts = [table([("checkpoint", facts["checkpoint"]), ("model", _model(facts["model"])), *_verdict(findings)])]
    if "not_run" in facts:
        parts.append(f"not run: {facts['not_run']}")
    if "measured" in facts:
        parts.append(_measured(facts))
    parts += [finding.text() for finding in findings if finding.severity != "note"]
    if "measured" in facts:
        parts.append(_events(facts["measured"][0]))
    parts += [finding.text() for finding in findings if finding.severity == "note"]
    if "against" in facts:
        parts.append(_against(facts["against"]))
    return "\n\n".join(parts)


def _model(model: dict[str, Any]) -> str:
    joined = {
        key: ("x" if key in ("image", "patch") else ",").join(map(str, v)) for key, v in model.items() if isinstance(v, tuple)
    }
    sizes = [f"{key} {joined.get(key, value)}" for key, value in model.items() if key != "kind" and not isinstance(value, bool)]
    absent = [] if model.get("patch_norm", True) else ["no norm of patches"]
    return ", ".join([model["kind"], *sizes, *absent, *(["position embedding"] if model.get("position") else [])])


def _verdict(findings: Sequence[Finding]) -> list[tuple[str, str]]:
    named = {s: ", ".join(f.rule for f in findings if f.severity == s) for s in ("fault", "deployment", "note")}
    sound = "sound: it converts to an integer graph (ivit-ref convert)"
    rows = [("verdict", f"faults: {named['fault']}" if named["fault"] else sound)]
    rows += [("deployment", f"the released one changes its results: {named['deployment']}")] if named["deployment"] else []
    return rows + ([("notes", named["note"])] if named["note"] else [])


def _measured(facts: dict[str, Any]) -> str:
    """The table of variants."""
    rows = facts["measured"]
    width = max(len(row["name"]) for row in rows)
    head = f"{rows[0]['count']} image{'s' if rows[0]['count'] > 1 else ''}"
    lines = [f"{head:<{width}}  {'top-1':>8}  {'agree':>8}  (agree: the class is that of {facts['agreement_with']})"]
    if facts["given_correct"] is not None:
        given = {"count": rows[0]["count"], "correct": facts["given_correct"], "agreeing": None}
        lines.append(f"{'the given logits':<{width}}  {_share(given, 'correct')}")
    for row in rows:
        if row["stopped"]:
            lines.append(f"{row['name']:<{width}}  stopped: {row['stopped']}")
            continue
        lines.append(
            f"{row['name']:<{width}}  {_share(row, 'correct')}  {_share(row, 'agreeing')}  {event_totals(row['events'])}"
        )
    return "\n".join(lines)


def _share(row: dict[str, Any], key: str) -> str:
    return f"{'-':>8}" if row[key] is None else f"{100 * row[key] / row['count']:6.2f} %"


def _events(row: dict[str, Any]) -> str:
    """The nodes with most events, of the first variant."""
    events = sorted(row["events"], key=lambda event: -event["count"])
    lines = [f"events of {row['name']}, by node" if events else f"no events in {row['name']}"]
    lines += [f"  {event['text']} (of {event['total']})" for event in events[:SHOWN_EVENTS]]
    hidden = len(events) - SHOWN_EVENTS
    return "\n".join(lines + ([f"  and {hidden} more (see: --json)"] if hidden > 0 else []))


def _against(rows: Sequence[dict[str, Any]]) -> str:
    """The tensors that differ from the simulation, in the order of the graph."""
    differing = [row for row in rows if row["differing"]]
    verdicts = Counter(row["verdict"] for row in rows)
    lines = [f"against the simulation: {len(rows)} tensors, " + ", ".join(f"{n} {v}" for v, n in verdicts.most_common())]
    if differing and differing[0]["op"] == "Quantize":
        return "\n".join([*lines, f"  these are not the images of the dump: {_told(differing[0])}"])
    if differing:
        lines.append(f"first that differs: {_told(differing[0])}")
    narrow = next((row for row in differing if row["op"] in NARROW), None)
    if narrow is not None and narrow is not differing[0]:
        lines.append(f"first of at most 16 bits: {_told(narrow)}")
    if differing:
        width = max(len(row["name"]) for row in differing)
        lines += LEGEND
        lines.append(f"{'tensor':<{width}}    differ     largest     alone      left  verdict")
        lines += [_tensor(row, width) for row in differing]
    return "\n".join(lines)


def _told(row: dict[str, Any]) -> str:
    return f"{row['name']} ({row['op']}), {row['differing']} of {row['total']} integers, by at most {row['largest']}"


def _tensor(row: dict[str, Any], width: int) -> str:
    shares = [_percent(row[key], row["total"]) for key in ("differing", "alone", "left")]
    return f"{row['name']:<{width}}  {shares[0]:>8}  {row['largest']:>10}  {shares[1]:>8}  {shares[2]:>8}  {row['verdict']}"


def _percent(count: int, total: int) -> str:
    """A few of many are not none."""
    share = 100 * count / total
    return f"{share:.2f} %" if share >= 0.005 or not count else "<0.01 %"
