"""What each verb does to the objects, once somebody is known and allowed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.kube import admission, patches, status
from tests.kube.access import Authorizer, Question
from tests.kube.accounts import Accounts
from tests.kube.bootstrap import User
from tests.kube.kinds import AUTHORIZATION, RBAC, Kind, Target
from tests.kube.objects import Key, Objects, require, require_fresh, valid_name
from tests.kube.pods import Pods
from tests.kube.policies import Policies
from tests.kube.reviews import review, rules_review
from tests.kube.selecting import Pages, selector
from tests.kube.status import Json

APPLY = "application/apply-patch+yaml"


@dataclass
class Verbs:
    """Every operation on resources. Each raises the Status that a real API server answers."""

    objects: Objects
    authorizer: Authorizer
    accounts: Accounts
    pods: Pods
    policies: Policies
    pages: Pages = field(default_factory=Pages)

    def list(self, target: Target, query: Mapping[str, str]) -> Json:
        """A list, or a page of one."""
        chosen = selector(target.kind, query)
        items = [o for o in self.objects.list(target.kind.resource, target.namespace) if chosen(o)]
        return self.pages.page(target.kind, items, self.objects.version, query)

    def delete(self, user: User, target: Target, options: Json) -> Json:
        """A DELETE: pods end in their own time, everything else is gone."""
        if (before := self.objects.find(target.key)) is not None:
            self.policies.check(user, "DELETE", target.kind, target.namespace, target.name, None, before)
        if target.kind.resource == "pods":
            return self.pods.delete(target.key, options)
        gone = self.objects.delete(target.key, options.get("preconditions"))
        self._changed(target.kind)
        details = {"name": target.name, "kind": target.kind.resource, "uid": gone["metadata"]["uid"]}
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": details,
        }

    def create(self, user: User, target: Target, body: Json, *, dry_run: bool = False) -> Json:
        """A POST; with `dryRun=All` nothing is kept (of objects, that is)."""
        if target.kind.group == AUTHORIZATION:
            answer = review if target.kind.resource == "selfsubjectaccessreviews" else rules_review
            return answer(self.authorizer, user, body)
        if target.subresource == "token":
            self.objects.get(target.key)
            return self.accounts.issue(target.namespace, target.name, body)
        if target.subresource == "eviction":
            return self.pods.evict(target.key, body)
        metadata = body.setdefault("metadata", {})
        if metadata.get("resourceVersion"):
            raise status.bad_request("resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + secrets.token_hex(3)[:5]
        return self._add(user, target, str(metadata.get("name", "")), body, dry_run=dry_run)

    def _add(self, user: User, target: Target, name: str, body: Json, *, dry_run: bool = False) -> Json:
        kind = target.kind
        body.update(kind=kind.kind, apiVersion=kind.api_version)
        if kind.namespaced:
            self.objects.get(Key("namespaces", "", target.namespace))
        if kind.resource == "secrets":
            admission.fold_string_data(body)
        elif kind.resource == "certificatesigningrequests":
            admission.stamp_request(body, user)
        elif kind.resource == "pods":
            body["status"] = {"phase": "Pending"}
        elif kind.resource in ("nodes", "leases"):
            admission.node_restriction(user, kind.resource, name, {}, body)
        valid_name(kind.kind, name)
        self.policies.check(user, "CREATE", kind, target.namespace, name, body, None)
        if dry_run:
            return body
        made = self.objects.create(Key(kind.resource, target.namespace, name), body)
        self._changed(kind)
        return made

    def update(self, user: User, target: Target, wanted: Json) -> Json:
        """A PUT."""
        present = self.objects.get(target.key)
        require(target.key, present, {"uid": wanted.get("metadata", {}).get("uid")})
        return self._replace(user, target, present, wanted)

    def patch(self, user: User, target: Target, kind: str, body: Any) -> Json:
        """A PATCH of an object that is there."""
        present = self.objects.get(target.key)
        return self._replace(user, target, present, patches.apply(kind, present, body))

    def apply(self, user: User, target: Target, manager: str, body: Json) -> tuple[Json, bool]:
        """A server-side apply: the object, and whether it is new. Conflicts of managers are not shown."""
        if not manager:
            raise status.bad_request("PatchOptions.meta.k8s.io is invalid: fieldManager: Required value")
        present = self.objects.find(target.key)
        if present is not None:
            if target.kind.resource == "secrets":
                admission.fold_string_data(body)
            merged = patches.merge(present, body, strategic=True)
            return self._replace(user, target, present, merged), False
        asked = Question("create", target.kind.group, target.resource, target.namespace, target.name)
        if not self.authorizer.allows(user, asked):
            raise status.forbidden(f'{target.resource} "{target.name}" is forbidden: User "{user.name}"')
        return self._add(user, target, target.name, body), True

    def _replace(self, user: User, target: Target, present: Json, wanted: Json) -> Json:
        require_fresh(target.key, present, wanted)
        wanted = self._of_subresource(user, target, present, wanted)
        if target.kind.resource in ("nodes", "leases"):
            admission.node_restriction(user, target.kind.resource, target.name, present, wanted)
        self.policies.check(user, "UPDATE", target.kind, target.namespace, target.name, wanted, present)
        made = self.objects.replace(target.key, wanted)
        self._changed(target.kind)
        return made

    def _of_subresource(self, user: User, target: Target, present: Json, wanted: Json) -> Json:
        """What of the wanted object counts: a subresource changes its part, the main resource all else."""
        if target.subresource == "approval":
            admission.may_approve(self.authorizer, user, present)
            conditions = wanted.get("status", {}).get("conditions") or []
            made = admission.decided(present, conditions, self.objects.now())
            return {**wanted, "spec": present["spec"], "status": {**present["status"], "conditions": made}}
        if target.subresource == "status":
            # metadata goes along, so who may patch nodes/status may set labels; the spec does not
            return {**wanted, "spec": present.get("spec", {})}
        if target.kind.resource == "certificatesigningrequests":
            wanted = {**wanted, "spec": present["spec"]}
        if target.kind.subresources and "status" in target.kind.subresources:
            return {**wanted, "status": present.get("status", {})}
        return wanted

    def _changed(self, kind: Kind) -> None:
        if kind.group == RBAC:
            self.follow_rbac()

    def follow_rbac(self) -> None:
        """The rules are those of the Roles and bindings that there are now."""
        resources = ("roles", "clusterroles", "rolebindings", "clusterrolebindings")
        self.authorizer.follow([o for r in resources for o in self.objects.list(r)])
