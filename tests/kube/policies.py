"""ValidatingAdmissionPolicies: which of them count for a request, and what their CEL says of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tests.kube import cel
from tests.kube.bootstrap import User
from tests.kube.kinds import Kind
from tests.kube.objects import Objects
from tests.kube.status import ApiError, Json


@dataclass
class Policies:
    """The policies of a cluster, with their bindings."""

    objects: Objects

    def check(
        self,
        user: User,
        operation: str,
        kind: Kind,
        namespace: str,
        name: str,
        body: Json | None,
        before: Json | None,
    ) -> None:
        """Raises the refusal of the first policy that is bound, counts here, and does not hold."""
        request = {
            "operation": operation,
            "name": name,
            "namespace": namespace,
            "userInfo": {"username": user.name, "groups": [*user.groups]},
        }
        scope = {"object": body, "oldObject": before, "request": request}
        for policy in self._bound():
            if _concerns(policy["spec"].get("matchConstraints") or {}, operation, kind):
                _judge(policy, scope, f'{kind.resource} "{name}" is forbidden')

    def _bound(self) -> list[Json]:
        """Policies with a binding that denies."""
        names = {
            b["spec"]["policyName"]
            for b in self.objects.list("validatingadmissionpolicybindings")
            if "Deny" in b["spec"].get("validationActions", ())
        }
        return [p for p in self.objects.list("validatingadmissionpolicies") if p["metadata"]["name"] in names]


def _concerns(constraints: Json, operation: str, kind: Kind) -> bool:
    def listed(allowed: list[str], asked: str) -> bool:
        return "*" in allowed or asked in allowed

    return any(
        listed(rule["operations"], operation)
        and listed(rule["apiGroups"], kind.group)
        and listed(rule["resources"], kind.resource)
        for rule in constraints.get("resourceRules") or ()
    )


def _judge(policy: Json, scope: dict[str, Any], refused: str) -> None:
    spec, name = policy["spec"], policy["metadata"]["name"]
    try:
        conditions = spec.get("matchConditions") or ()
        if not all(cel.evaluate(c["expression"], scope) for c in conditions):
            return
        variables: dict[str, Any] = {}
        for variable in spec.get("variables") or ():
            scope = {**scope, "variables": variables}
            variables[variable["name"]] = cel.evaluate(variable["expression"], scope)
        scope = {**scope, "variables": variables}
        for rule in spec.get("validations") or ():
            if not cel.evaluate(rule["expression"], scope):
                message = rule.get("message") or f"failed expression: {rule['expression'].strip()}"
                raise _denied(refused, name, message, rule.get("reason", "Invalid"))
    except cel.CelError as error:  # an error refuses, as failurePolicy: Fail does
        if spec.get("failurePolicy", "Fail") == "Fail":
            raise _denied(refused, name, f"expression resulted in error: {error}", "Invalid") from None


def _denied(refused: str, name: str, message: str, reason: str) -> ApiError:
    code = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}.get(reason, 422)
    return ApiError(code, reason, f"{refused}: ValidatingAdmissionPolicy '{name}' denied request: {message}")
