from __future__ import annotations

from gateway.formats.kept_ids import kept_ids


def test_each_id_once_in_order() -> None:
    assert kept_ids(["b", "a", None, "", "b"]) == ("b", "a")


def test_what_is_no_id_is_left_out() -> None:
    assert kept_ids(["x" * 256, "größe", "a\nb", "resp_1"]) == ("resp_1",)


def test_no_answer_leaves_that_much_behind() -> None:
    assert len(kept_ids(map(str, range(1_000)))) == 256
