"""Policies of the broker, which may take from a queue what nobody has read. AMQP does not tell of them.

RabbitMQ tells administrators alone: rabbitmqctl is asked, where it can be run.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any, NamedTuple

OK, NOTE, FAILED = "ok", "note", "FAILED"
_CTL_TIMEOUT_S = 60
_POLICIES = "policies"


class Step(NamedTuple):
    """What was looked at, how it is, and what there is to say of it."""

    name: str
    result: str
    text: str


def policies(virtual_host: str, ids: list[str], is_here: bool) -> Iterator[Step]:
    """Whether one of them loses readings of these meters."""
    by_whom = {"policy": "policies", "operator_policy": "operator_policies"}
    try:
        if not is_here or not shutil.which("rabbitmqctl"):
            raise OSError
        seen = {kind: _listed(f"list_{plural}", virtual_host) for kind, plural in by_whom.items()}
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        is_late = isinstance(error, subprocess.TimeoutExpired)
        why = f", for rabbitmqctl does not answer within {_CTL_TIMEOUT_S} s" if is_late else ""
        where = f"rabbitmqctl list_policies -p {virtual_host}"
        yield Step(_POLICIES, NOTE, f"not looked at{why}; as root on the broker's machine: {where}")
        return
    losing = [(kind, each, why) for kind, policies in seen.items() for each in policies if (why := _loss(each))]
    if not losing:
        yield Step(_POLICIES, OK, "none of them loses readings")
    for kind, policy, why in losing:
        name, pattern = policy["name"], policy["pattern"]
        hit = [each for each in ids if _in_force(seen[kind], each) is policy]
        whose = f"the queue {hit[0]}{f' and {len(hit) - 1} more' if len(hit) > 1 else ''}" if hit else "queues"
        mend = f"rabbitmqctl clear_{kind} -p {virtual_host} {name}"
        yield Step(
            _POLICIES, FAILED if hit else NOTE, f"{name!r} ({pattern}) makes {whose} {why}; to remove it: {mend}"
        )


def _listed(what: str, virtual_host: str) -> list[dict[str, Any]]:
    command = ["rabbitmqctl", "--quiet", what, "-p", virtual_host, "--formatter", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_CTL_TIMEOUT_S, check=True)
    policies: list[dict[str, Any]] = json.loads(done.stdout)
    return policies


def _in_force(policies: list[dict[str, Any]], queue: str) -> dict[str, Any] | None:
    """RabbitMQ applies one policy to a queue: of those that match, the one of the highest priority."""
    matching = [each for each in policies if _is_for_queues(each) and _matches(each["pattern"], queue)]
    return max(matching, key=lambda policy: int(policy["priority"]), default=None)


def _is_for_queues(policy: dict[str, Any]) -> bool:
    return policy.get("apply-to") not in ("exchanges", "streams")


def _loss(policy: dict[str, Any]) -> str:
    """What a policy makes a queue lose, or nothing."""
    if not _is_for_queues(policy):
        return ""
    definition = policy["definition"]
    keys = json.loads(definition) if isinstance(definition, str) else definition
    if "message-ttl" in keys:
        return f"drop readings that nobody has taken within {keys['message-ttl'] / 1000:g} s (message-ttl)"
    if "expires" in keys:
        return f"vanish when nobody has used it for {keys['expires'] / 1000:g} s (expires)"
    if keys.get("overflow") == "drop-head":
        return "drop its oldest readings when it is full (overflow drop-head)"
    if "delivery-limit" in keys and keys["delivery-limit"] >= 0:
        return f"drop a reading that was given back {keys['delivery-limit']} times (delivery-limit)"
    return ""


def _matches(pattern: str, queue: str) -> bool:
    try:
        return re.search(pattern, queue) is not None
    except re.error:  # Erlang's expressions know more
        return True
