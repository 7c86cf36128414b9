"""The contract with Flower: every internal name that we lean on, and what we rely on about it.

flwr is pinned to one minor version since these are no public names.  Where a test here fails after a new version, read
Flower's changes, correct the three files that touch it, and run tests/e2e before the cap in pyproject.toml is raised.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from flwr.app import Message, RecordDict

import coordinator.flower.grid
import nodes.serve.flower
from coordinator.flower.grid import InMemoryGrid
from trust.protocol.records import from_records

ROOT = Path(__file__).parents[1]
TESTED = "1.42"
FILES = {"nodes/serve/flower.py", "coordinator/flower/grid.py", "coordinator/flower/superlink.py"}
ATTRIBUTES = """
flwr.supernode.fleet_http_client:FleetHttpClient.from_server_address(server_address,insecure,root_certificates,interceptors)
flwr.supernode.fleet_http_client:FleetHttpClient.ActivateNode
flwr.supernode.fleet_http_client:FleetHttpClient.DeactivateNode
flwr.supernode.fleet_http_client:FleetHttpClient.SendNodeHeartbeat
flwr.supernode.fleet_http_client:FleetHttpClient.PullMessages
flwr.supernode.fleet_http_client:FleetHttpClient.PushMessages
flwr.supernode.fleet_http_client:FleetHttpClient.PullObject
flwr.supernode.fleet_http_client:FleetHttpClient.PushObject
flwr.supernode.fleet_http_client:FleetHttpClient.ConfirmMessageReceived
flwr.supernode.node_auth_http_interceptor:NodeAuthHttpInterceptor(private_key,public_key)
flwr.supercore.interceptors:RuntimeVersionHttpInterceptor(component_name)
flwr.supercore.interceptors:SuperExecAuthHttpInterceptor(master_secret,protected_methods)
flwr.supercore.inflatable.inflatable_protobuf_utils:make_pull_object_fn_protobuf(pull_object_protobuf,node,run_id)
flwr.supercore.inflatable.inflatable_protobuf_utils:make_push_object_fn_protobuf(push_object_protobuf,node,run_id,session_id)
flwr.supercore.inflatable.inflatable_protobuf_utils:make_confirm_message_received_fn_protobuf(confirm_message_received_protobuf,node,run_id)
flwr.supercore.inflatable.inflatable_object:get_all_nested_objects(obj)
flwr.supercore.inflatable.inflatable_object:get_object_tree(obj)
flwr.supercore.inflatable.inflatable_object:no_object_id_recompute()
flwr.supercore.inflatable.inflatable_utils:pull_and_inflate_object_from_tree(object_tree,pull_object_fn,confirm_object_received_fn,return_type,max_time,initial_backoff,backoff_cap)
flwr.supercore.inflatable.inflatable_utils:pull_objects(object_ids,pull_object_fn,max_time,initial_backoff,backoff_cap)
flwr.supercore.inflatable.inflatable_utils:push_objects(objects,push_object_fn,object_ids_to_push)
flwr.supercore.inflatable.inflatable_utils:inflate_object_from_contents(object_id,object_contents)
flwr.superlink.grid.http_grid:HttpGrid(runtime_api_address,insecure,root_certificates,token)
flwr.superlink.grid.http_grid:HttpGrid._runtime_client
flwr.superlink.grid.http_grid:HttpGrid.push_messages(messages)
flwr.superlink.grid.http_grid:HttpGrid.pull_messages(message_ids)
flwr.superlink.grid.http_grid:pull_objects
flwr.supercore.control:ControlHttpClient.StartRun
flwr.supercore.control:ControlHttpClient.RegisterNode
flwr.supercore.control:ControlHttpClient.ListNodes
flwr.supercore.runtime:RuntimeHttpClient.AcquireTask
flwr.supercore.runtime:RuntimeHttpClient.PullTaskInput
flwr.supercore.runtime:RuntimeHttpClient.PushTaskOutput
flwr.supercore.runtime:RuntimeHttpClient.SendTaskHeartbeat
flwr.supercore.task_identity:TaskIdentity
flwr.supercore.run:Run.create_empty
flwr.supercore.fab:Fab(hash_str,content,verifications)
flwr.supercore.constant:TaskType.SERVER_APP
flwr.cli.build:build_fab_from_files(files)
flwr.superlink.cli.flower_superlink:uvicorn.run
""".splitlines()[1:]


def flower_names(module: str) -> list[tuple[str, str]]:
    """Every name that a file takes from Flower."""
    tree = ast.parse((ROOT / module).read_text(encoding="utf-8"))
    return [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "flwr"
        for alias in node.names
    ]


def test_flowers_version_is_the_one_whose_insides_were_checked() -> None:
    assert version("flwr").startswith(TESTED + "."), (
        f"flwr {version('flwr')} is installed; the internal names were checked with {TESTED}. Run this file and "
        "tests/e2e, read Flower's changes, then raise the cap in pyproject.toml and TESTED here"
    )


@pytest.mark.parametrize("module", sorted(FILES))
def test_every_name_of_flower_that_we_import_is_there(module: str) -> None:
    names = flower_names(module)
    assert names
    gone = []
    for where, name in names:
        found = importlib.import_module(where)
        if not hasattr(found, name):
            try:
                importlib.import_module(f"{where}.{name}")
            except ImportError:
                gone.append(f"{where}.{name}")
    assert not gone, f"{module} uses names that flwr {version('flwr')} does not have: {', '.join(gone)}"


@pytest.mark.parametrize("line", ATTRIBUTES)
def test_every_attribute_and_parameter_that_we_use_is_there(line: str) -> None:
    module, _, rest = line.partition(":")
    name, _, parameters = rest.rstrip(")").partition("(")
    found = importlib.import_module(module)
    for part in name.split("."):
        assert hasattr(found, part), f"flwr {version('flwr')} has no {module}.{name}"
        found = getattr(found, part)
    have = inspect.signature(found).parameters if parameters else {}
    lost = [wanted for wanted in parameters.split(",") if wanted and wanted not in have]
    assert not lost, f"flwr {version('flwr')}: {module}.{name} has no parameters {lost}; it has {list(have)}"


def test_what_we_set_by_hand_is_what_flower_reads() -> None:
    """Attributes, not names that are imported: a message's id, and the run that `Message` takes from the process."""
    InMemoryGrid({}, run_id=77)
    message = Message(RecordDict(), 5, "query")
    assert (message.metadata.run_id, message.metadata.dst_node_id) == (77, 5)
    message.metadata.__dict__["_message_id"] = "an id"
    assert message.metadata.message_id == "an id"
    assert Message(RecordDict(), reply_to=message).metadata.reply_to_message_id == "an id"


def test_no_other_file_touches_flower_and_both_sides_agree_where_the_bytes_are() -> None:
    touching = {
        path.relative_to(ROOT).as_posix()
        for folder in ("trust", "nodes", "coordinator", "datatrust")
        for path in (ROOT / folder).rglob("*.py")
        if flower_names(path.relative_to(ROOT).as_posix()) or "import flwr" in path.read_text(encoding="utf-8")
    }
    assert touching == FILES
    for raw in (b"", b"x", bytes(9_000_000)):
        for content in (coordinator.flower.grid.flower_content(raw), nodes.serve.flower.flower_content(raw)):
            assert from_records(content.config_records) == raw
            assert content.config_records["datatrust"]["message"] == raw[: 1 << 23]


def test_a_node_never_asks_for_a_run_or_its_bundle() -> None:
    source = (ROOT / "nodes/serve/flower.py").read_text(encoding="utf-8")
    for call in ("GetRun", "GetFab", "RegisterNode", "pickle", "exec(", "eval(", "import_module"):
        assert call not in source
    assert "/v1/fleet/get-fab" not in (ROOT / "coordinator/flower/superlink.py").read_text(encoding="utf-8")
