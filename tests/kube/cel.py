"""The part of the Common Expression Language that admission policies use.

A parser by precedence that makes one closure per node of the expression. What it does not know is an
error, as with the real one: a policy that cannot be compiled refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Scope = Mapping[str, Any]
Term = Callable[[Scope], Any]


class CelError(Exception):
    """An expression that cannot be read, or that has no value here."""


_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+)|(?P<text>r?'(?:[^'\\]|\\.)*'|r?\"(?:[^\"\\]|\\.)*\")"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||==|!=|<=|>=|\.\?|[-+*/%<>!?:.,()\[\]]))"
)
_CONSTANTS = {"true": True, "false": False, "null": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


def evaluate(expression: str, scope: Scope) -> Any:
    """The value of an expression; raises CelError."""
    return _Parser(_tokens(expression)).whole()(scope)


def _tokens(text: str) -> list[tuple[str, str]]:
    text, at, found = text.rstrip(), 0, []
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match:
            raise CelError(f"syntax error at {text[at : at + 20]!r}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return [*found, ("end", "")]


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0

    def whole(self) -> Term:
        term = self._choice()
        if self._tokens[self._at][0] != "end":
            raise CelError(f"syntax error at {self._tokens[self._at][1]!r}")
        return term

    def _take(self, *signs: str) -> str:
        kind, text = self._tokens[self._at]
        if text in signs and kind in ("sign", "name"):
            self._at += 1
            return text
        return ""

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            raise CelError(f"syntax error: {sign!r} expected at {self._tokens[self._at][1]!r}")

    def _choice(self) -> Term:
        condition = self._binary(0)
        if not self._take("?"):
            return condition
        then = self._choice()
        self._need(":")
        otherwise = self._choice()
        return lambda scope: then(scope) if condition(scope) else otherwise(scope)

    def _binary(self, level: int) -> Term:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while sign := self._take(*_LEVELS[level]):
            left = _operation(sign, left, self._binary(level + 1))
        return left

    def _unary(self) -> Term:
        if self._take("!"):
            term = self._unary()
            return lambda scope: not term(scope)
        if self._take("-"):
            term = self._unary()
            return lambda scope: -term(scope)
        return self._member(self._primary())

    def _primary(self) -> Term:
        kind, text = self._tokens[self._at]
        if self._take("("):
            inner = self._choice()
            self._need(")")
            return inner
        if self._take("["):
            items = self._items("]")
            return lambda scope: [item(scope) for item in items]
        self._at += 1
        if kind == "number":
            return lambda scope: int(text)
        if kind == "text":
            return _constant(_unquoted(text))
        if kind != "name":
            raise CelError(f"syntax error at {text!r}")
        if text in _CONSTANTS:
            return _constant(_CONSTANTS[text])
        if self._take("("):
            return _function(text, self._items(")"))
        return lambda scope: _looked_up(scope, text)

    def _member(self, term: Term) -> Term:
        while sign := self._take(".", ".?", "["):
            if sign == "[":
                term = _index(term, self._choice())
                self._need("]")
                continue
            name = self._tokens[self._at][1]
            self._at += 1
            if sign == ".?":
                term = _optional(term, name)
            elif self._take("("):
                term = self._method(term, name)
            else:
                term = _field(term, name)
        return term

    def _method(self, term: Term, name: str) -> Term:
        if name in _MACROS:
            variable = self._tokens[self._at][1]
            self._at += 1
            self._need(",")
            body = self._choice()
            self._need(")")
            macro = _MACROS[name]
            return lambda scope: macro(term(scope), lambda item: body({**scope, variable: item}))
        arguments = self._items(")")
        if name not in _METHODS:
            raise CelError(f"undeclared reference to '{name}'")
        method = _METHODS[name]
        return lambda scope: method(term(scope), *(a(scope) for a in arguments))

    def _items(self, end: str) -> list[Term]:
        items: list[Term] = []
        while not self._take(end):
            items.append(self._choice())
            if not self._take(","):
                self._need(end)
                break
        return items


_LEVELS = (("||",), ("&&",), ("==", "!=", "<=", ">=", "<", ">", "in"), ("+", "-"), ("*", "/", "%"))

_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "in": lambda a, b: a in b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a // b,
    "%": lambda a, b: a % b,
}


def _exactly_one(items: Any, test: Callable[[Any], Any]) -> bool:
    return sum(bool(test(item)) for item in items) == 1


_MACROS: dict[str, Callable[[Any, Callable[[Any], Any]], Any]] = {
    "all": lambda items, test: all(test(item) for item in items),
    "exists": lambda items, test: any(test(item) for item in items),
    "exists_one": _exactly_one,
    "filter": lambda items, test: [item for item in items if test(item)],
    "map": lambda items, made: [made(item) for item in items],
}

_METHODS: dict[str, Callable[..., Any]] = {
    "startsWith": lambda text, prefix: text.startswith(prefix),
    "endsWith": lambda text, suffix: text.endswith(suffix),
    "contains": lambda text, part: part in text,
    "matches": lambda text, pattern: re.search(pattern, text) is not None,
    "size": len,
    "split": lambda text, separator: text.split(separator),
    "lowerAscii": lambda text: text.lower(),
    "orValue": lambda found, otherwise: otherwise if found is None else found,
    "hasValue": lambda found: found is not None,
}

_FUNCTIONS: dict[str, Callable[..., Any]] = {"size": len, "string": str, "int": int, "type": type}


def _constant(value: Any) -> Term:
    return lambda scope: value


def _unquoted(text: str) -> str:
    if text.startswith("r"):
        return text[2:-1]
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1])


def _looked_up(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise CelError(f"undeclared reference to '{name}'")
    return scope[name]


def _operation(sign: str, left: Term, right: Term) -> Term:
    if sign in ("&&", "||"):
        return _logic(left, right, decides=sign == "||")

    def value(scope: Scope) -> Any:
        try:
            return _BINARY[sign](left(scope), right(scope))
        except (TypeError, ZeroDivisionError):
            raise CelError(f"no such overload: {sign}") from None

    return value


def _logic(left: Term, right: Term, *, decides: bool) -> Term:
    """One side that decides is enough, even where the other is an error."""

    def value(scope: Scope) -> bool:
        try:
            if bool(left(scope)) is decides:
                return decides
        except CelError:
            if bool(right(scope)) is decides:
                return decides
            raise
        return bool(right(scope))

    return value


def _field(term: Term, name: str) -> Term:
    def value(scope: Scope) -> Any:
        holder = term(scope)
        if not isinstance(holder, Mapping) or name not in holder:
            raise CelError(f"no such key: {name}")
        return holder[name]

    value.has = lambda scope: _has(term(scope), name)  # type: ignore[attr-defined]
    return value


def _has(holder: Any, name: str) -> bool:
    if not isinstance(holder, Mapping):
        raise CelError(f"no such key: {name}")
    return holder.get(name) is not None


def _optional(term: Term, name: str) -> Term:
    def value(scope: Scope) -> Any:
        holder = term(scope)
        return holder.get(name) if isinstance(holder, Mapping) else None

    return value


def _index(term: Term, index: Term) -> Term:
    def value(scope: Scope) -> Any:
        holder, key = term(scope), index(scope)
        try:
            return holder[key]
        except (KeyError, IndexError, TypeError):
            raise CelError(f"no such key: {key}") from None

    return value


def _function(name: str, arguments: list[Term]) -> Term:
    if name == "has":
        has: Term | None = getattr(arguments[0], "has", None)
        if has is None:
            raise CelError("invalid argument to has() macro")
        return has
    if name not in _FUNCTIONS:
        raise CelError(f"undeclared reference to '{name}'")
    function = _FUNCTIONS[name]
    return lambda scope: function(*(a(scope) for a in arguments))
