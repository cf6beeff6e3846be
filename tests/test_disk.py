"""Locks between processes."""

import threading

import pytest

from mixup_lab.disk import locked, try_lock
from mixup_lab.types import UserError


def test_a_lock_is_held_by_one_at_a_time_and_the_next_one_waits(tmp_path):
    path, order = tmp_path / "new" / ".lock", []

    def wait_for_it():
        with locked(path):
            order.append("second")

    with locked(path):
        with path.open("w") as other:
            assert not try_lock(other)
        waiting = threading.Thread(target=wait_for_it)
        waiting.start()
        waiting.join(0.2)
        order.append("first")
    waiting.join(10)
    assert order == ["first", "second"]
    with path.open("w") as other:
        assert try_lock(other)


def test_a_place_that_cannot_be_locked_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"^cannot write .*file/.lock: File exists$"), locked(tmp_path / "file/.lock"):
        pass
