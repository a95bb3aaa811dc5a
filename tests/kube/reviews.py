"""What somebody may do, asked by themselves."""

from __future__ import annotations

from tests.kube.access import Authorizer, Question
from tests.kube.bootstrap import User
from tests.kube.status import Json


def review(authorizer: Authorizer, user: User, body: Json) -> Json:
    """A SelfSubjectAccessReview."""
    spec = body["spec"]
    asked = spec.get("resourceAttributes") or {}
    path = (spec.get("nonResourceAttributes") or {}).get("path", "")
    verb = asked.get("verb", "") or (spec.get("nonResourceAttributes") or {}).get("verb", "")
    resource = asked.get("resource", "") + (f"/{asked['subresource']}" if asked.get("subresource") else "")
    question = Question(
        verb,
        asked.get("group", ""),
        resource,
        asked.get("namespace", ""),
        asked.get("name", ""),
        path,
    )
    return {
        **body,
        "kind": "SelfSubjectAccessReview",
        "apiVersion": "authorization.k8s.io/v1",
        "status": {"allowed": authorizer.allows(user, question)},
    }


def rules_review(authorizer: Authorizer, user: User, body: Json) -> Json:
    """A SelfSubjectRulesReview: every rule that counts in one namespace."""
    namespace = body["spec"].get("namespace", "")
    rules, paths = [], []
    for grant in authorizer.of(user, namespace):
        if grant.paths:
            paths.append({"verbs": [*grant.verbs], "nonResourceURLs": [*grant.paths]})
        if grant.resources:
            rule: Json = {
                "verbs": [*grant.verbs],
                "apiGroups": [*grant.groups],
                "resources": [*grant.resources],
            }
            rules.append(rule | ({"resourceNames": [*grant.names]} if grant.names else {}))
    return {
        **body,
        "kind": "SelfSubjectRulesReview",
        "apiVersion": "authorization.k8s.io/v1",
        "status": {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False},
    }
