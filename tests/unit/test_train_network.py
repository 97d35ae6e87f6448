"""On which interface the processes of a training meet, and who may start them."""

from __future__ import annotations

import os
import signal

import pytest

from fsgr_tui.core.child import Stopper
from fsgr_tui.core.errors import MachineCannot
from fsgr_tui.core.event import EventWriter
from fsgr_tui.core.training import TrainSpec
from fsgr_tui.train import network
from fsgr_tui.train.launch import launch

SPEC = TrainSpec(
    mode="precomputed", annotation_folder="a", output="o", exp_name="e", features="f", processes=2, nodes=3
)


@pytest.fixture
def unset(monkeypatch):
    for name in network.VARIABLES:
        monkeypatch.setenv(name, "x")
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("address", "name"), [("127.0.0.1", "lo"), ("localhost", "lo"), ("no.such.host.invalid", ""), ("", "")]
)
def test_the_interface_that_leads_to_an_address(address, name):
    assert network.interface_towards(address) == name


def test_on_one_node_the_loopback_whatever_is_set(monkeypatch):
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth0")
    network.bind(1)
    assert {os.environ[name] for name in network.VARIABLES} == {"lo"}


@pytest.mark.usefixtures("unset")
def test_on_several_nodes_the_way_to_another_node_as_slurm_knows_it(tmp_path, monkeypatch):
    answers = tmp_path / "scontrol"
    answers.write_text(
        "#!/bin/sh\n"
        'if [ "$2" = hostnames ]; then printf "n1\\nn2\\n"; else echo "NodeName=$4 NodeAddr=127.0.0.1 NodeHostName=x"; fi\n'
    )
    answers.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    network.bind(2)
    assert {os.environ[name] for name in network.VARIABLES} == {"lo"}


def test_an_interface_that_the_user_has_named_counts_more(monkeypatch):
    for name in network.VARIABLES:
        monkeypatch.setenv(name, "ib0")
    monkeypatch.setattr(network, "interface_towards", lambda _address: "eth0")
    network.bind(2)
    assert {os.environ[name] for name in network.VARIABLES} == {"ib0"}


@pytest.mark.usefixtures("unset")
def test_where_slurm_does_not_tell_the_libraries_choose(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    network.bind(2)
    assert not set(network.VARIABLES) & set(os.environ)


@pytest.mark.parametrize(
    "there", [{}, {"SLURM_NODEID": "0", "SLURM_JOB_NUM_NODES": "2"}, {"SLURM_NODEID": "1", "SLURM_JOB_NUM_NODES": "3"}]
)
def test_a_run_over_nodes_begins_on_the_first_of_a_job_that_has_them(tmp_path, monkeypatch, there):
    for name in ("SLURM_NODEID", "SLURM_JOB_NUM_NODES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(MachineCannot, match="first node of a Slurm job"):
            launch(tmp_path / "train.json", SPEC, EventWriter(str(tmp_path / "events")), Stopper())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert list(tmp_path.glob(".ranks-*")) == []


def test_the_processes_of_all_nodes_share_a_batch():
    assert SPEC.world == 6
