"""The words of the answers."""

from __future__ import annotations

import json

from netboot.web.boot.answers import json_answer


def test_the_session_answer_is_one_line_ofjson_answer() -> None:
    """The initrd reads it with sed: no blanks between names and values."""
    assert json_answer({"session": "a", "node": "b"}).body == b'{"session":"a","node":"b"}\n'
    assert json.loads(json_answer({"a": 'x"y'}).body) == {"a": 'x"y'}
