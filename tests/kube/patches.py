"""The three kinds of patch that clients of this API send."""

from __future__ import annotations

import copy
from typing import Any

from tests.kube import status

MERGE_KEYS = {"conditions": "type", "taints": "key", "addresses": "type", "ownerReferences": "uid"}
"""Lists that a strategic merge patch merges element by element, and by which key."""


def apply(content_type: str, present: Any, patch: Any) -> Any:
    """The object after the patch; raises 400 and 415."""
    present = copy.deepcopy(present)
    kind = content_type.partition(";")[0].strip()
    if kind == "application/merge-patch+json":
        return merge(present, patch, strategic=False)
    if kind == "application/strategic-merge-patch+json":
        return merge(present, patch, strategic=True)
    if kind == "application/json-patch+json":
        return json_patch(present, patch)
    raise status.ApiError(
        415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}"
    )


def merge(present: Any, patch: Any, *, strategic: bool) -> Any:
    """RFC 7386, with lists merged by key where `strategic`."""
    if not isinstance(patch, dict):
        return patch
    result = present if isinstance(present, dict) else {}
    for name, value in patch.items():
        key = MERGE_KEYS.get(name) if strategic else None
        if value is None:
            result.pop(name, None)
        elif key and isinstance(value, list) and isinstance(result.get(name), list):
            result[name] = _by_key(result[name], value, key)
        else:
            result[name] = merge(result.get(name), value, strategic=strategic)
    return result


def _by_key(present: list[Any], patch: list[Any], key: str) -> list[Any]:
    merged = {item[key]: item for item in present}
    for item in patch:
        merged[item[key]] = merge(merged.get(item[key]), item, strategic=True)
    return list(merged.values())


def json_patch(present: Any, operations: Any) -> Any:
    """RFC 6902: add, replace, remove and test. Raises 400; a `test` that fails is 422."""
    for operation in operations:
        path = [p.replace("~1", "/").replace("~0", "~") for p in str(operation["path"]).split("/")[1:]]
        *parents, last = path
        target = present
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target.setdefault(part, {})
        _operate(operation, target, last)
    return present


def _operate(operation: dict[str, Any], target: Any, last: str) -> None:
    verb, index = (
        operation["op"],
        last if isinstance(target, dict) else (len(target) if last == "-" else int(last)),
    )
    if verb == "test":
        have = target.get(index) if isinstance(target, dict) else target[index]
        if have != operation.get("value"):
            raise status.ApiError(
                422, "Invalid", "the server rejected our request due to an error in our request"
            )
    elif verb == "remove":
        del target[index]
    elif verb == "add" and isinstance(target, list):
        target.insert(int(index), operation.get("value"))
    elif verb in ("add", "replace"):
        target[index] = operation.get("value")
    else:
        raise status.bad_request(f"unexpected operation {verb}")
