"""Controls that both the page and the inspector change."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from gaussiancross.app.inspector.panels.controls import Link, assign


class Handle:
    """As viser's: assignments are sent to the page and call back without a client, a page's come with one."""

    def __init__(self, value: Any, **limits: Any) -> None:
        vars(self).update(limits, _value=value, sent=[], callback=None)

    def on_update(self, callback) -> None:
        self.callback = callback

    @property
    def value(self) -> Any:
        return self._value

    @value.setter
    def value(self, value: Any) -> None:
        self._value = value
        self.sent.append(value)
        self.callback(SimpleNamespace(client=None))

    def page(self, value: Any):
        """The page's message; its callback runs when what is returned is called."""
        self._value = value
        return lambda: self.callback(SimpleNamespace(client="a page"))


def link_to(handle: Handle, change: Callable[[int], None]) -> Link:
    context: Any = SimpleNamespace(lock=threading.RLock(), guarded=lambda callback: callback)
    return Link(handle, context, change)


@pytest.fixture
def linked():
    handle, changes = Handle(1, min=0, max=9), []
    return handle, changes, link_to(handle, changes.append)


class TestLink:
    def test_a_value_set_elsewhere_is_shown_without_a_callback(self, linked):
        handle, changes, link = linked
        link.show(3)
        link.show(3)
        assert handle.sent == [3] and changes == []

    def test_a_value_from_the_page_calls_back_once_without_an_echo(self, linked):
        handle, changes, link = linked
        callback = handle.page(4)
        callback()
        callback()
        link.show(4)
        assert changes == [4] and handle.sent == []

    def test_a_page_moves_it_while_the_old_value_is_being_shown(self, linked):
        handle, changes, link = linked
        callback = handle.page(4)
        link.show(1)  # still true when it was read
        callback()
        assert changes == [4] and handle.value == 4

    def test_an_echo_does_not_fight_a_drag(self, linked):
        handle, changes, link = linked
        first = handle.page(4)
        first()
        second = handle.page(5)
        link.show(4)
        second()
        assert changes == [4, 5] and handle.sent == []

    def test_a_refused_value_is_reset(self):
        def refuse(value: int) -> None:
            raise ValueError(value)

        handle = Handle(1, min=0, max=9)
        link = link_to(handle, refuse)
        with pytest.raises(ValueError, match="4"):
            handle.page(4)()
        link.show(1)
        assert handle.value == 1 and handle.sent == [1]

    def test_limits_come_first_and_the_value_again(self, linked):
        handle, changes, link = linked
        link.show(1, min=1, max=5)
        assert (handle.min, handle.max, handle.sent, changes) == (1, 5, [1], [])
        link.show(1, min=1, max=5)
        assert handle.sent == [1]

    def test_new_limits_keep_a_value_from_the_page(self, linked):
        handle, changes, link = linked
        callback = handle.page(4)
        link.show(2, max=5)
        callback()
        assert changes == [4] and (handle.value, handle.max) == (4, 5)

    def test_the_first_option_replaces_an_unknown_value(self):
        handle, changes = Handle("a", options=("a", "b")), []
        session: Any = SimpleNamespace(lock=threading.RLock(), guarded=lambda callback: callback)
        link = Link(handle, session, changes.append)
        link.show("z", options=("c", "d"))
        assert handle.value == "c" and handle.options == ("c", "d") and changes == []


def test_equal_properties_are_not_assigned_again():
    handle = Handle(1)
    handle.on_update(lambda _: None)
    assign(handle, "value", 1)
    assign(handle, "value", 2)
    assert handle.sent == [2]
