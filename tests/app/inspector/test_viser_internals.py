"""Private attributes of viser that the inspector uses: each must exist in the installed version."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import viser
from gaussiancross.app.inspector import Inspector, viser_internals
from gaussiancross.app.inspector.inspector import CALLBACK_THREADS
from helpers.inspector import NamedRoom
from viser import _icons, _messages
from viser.infra import _infra

APP = Path(viser_internals.__file__).parents[1]


@pytest.fixture(scope="module")
def owners() -> Iterator[dict[str, Any]]:
    server = viser.ViserServer(host="127.0.0.1", port=0, verbose=False)
    yield {
        "server": server,
        "gui": server.gui,
        "server._websock_server": getattr(server, "_websock_server", None),
        "server._thread_executor": getattr(server, "_thread_executor", None),
        "gui._websock_interface": getattr(server.gui, "_websock_interface", None),
        "messages": _messages,
        "icons": _icons,
        "infra": _infra,
    }
    server.stop()


@pytest.mark.parametrize(
    ("owner", "name"), [(owner, name) for owner, names in viser_internals.REQUIRED.items() for name in names]
)
def test_viser_has_the_private_attribute(owners: dict[str, Any], owner: str, name: str) -> None:
    message = (
        f"viser {viser.__version__} has no {owner}.{name}: adapt app/inspector/viser_internals.py, "
        "or lower the upper bound of viser in pyproject.toml"
    )
    if owner.startswith("messages."):
        kind = getattr(_messages, owner.removeprefix("messages."))
        assert name in {field.name for field in dataclasses.fields(kind)}, message
    else:
        assert hasattr(owners[owner], name), message


@pytest.mark.parametrize("name", ["_handle_file_transfer_start", "_handle_file_transfer_part"])
def test_upload_handlers_take_client_and_message(owners: dict[str, Any], name: str) -> None:
    assert list(inspect.signature(getattr(owners["gui"], name)).parameters) == ["client_id", "message"]


def test_upload_states_have_the_keys_that_are_read() -> None:
    from viser._gui_api import _FileUploadState

    assert {"filename", "transferred_bytes"} <= set(_FileUploadState.__annotations__)


def test_upload_acknowledgements_take_their_fields_in_this_order() -> None:
    names = [field.name for field in dataclasses.fields(_messages.FileTransferPartAck)]
    assert names[:4] == ["source_component_uuid", "transfer_uuid", "transferred_bytes", "total_bytes"]


def test_every_private_attribute_that_is_used_is_listed() -> None:
    tree = ast.parse(Path(viser_internals.__file__).read_text(encoding="utf-8"))
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr.startswith("_")}
    assert used <= {name for names in viser_internals.REQUIRED.values() for name in names}


def test_many_callbacks_at_once_share_the_threads_of_the_start() -> None:
    with Inspector(NamedRoom(), port=0) as inspector:
        at_start, threads, together = set(threading.enumerate()), set(), threading.Barrier(CALLBACK_THREADS)

        def callback() -> None:
            together.wait(20)
            threads.add(threading.current_thread())

        jobs = [inspector._server._thread_executor.submit(callback) for _ in range(4 * CALLBACK_THREADS)]
        for job in jobs:
            job.result(20)
    assert len(threads) == CALLBACK_THREADS and threads <= at_start


def test_no_other_module_imports_private_modules_of_viser() -> None:
    found = []
    for path in APP.rglob("*.py"):
        if path.name == "viser_internals.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "viser":
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                found += [f"{path.name}: {name}" for name in names if name.startswith("_")]
    assert found == []


def test_the_installed_viser_is_within_the_bounds_of_pyproject() -> None:
    assert viser.__version__.split(".")[:2] == ["1", "1"]
    text = (APP.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert text.count('"viser>=1.1,<1.2"') == 2 and text.count('"viser>') == 2
