"""A real RabbitMQ cluster on one machine: three nodes, each with a network of its own that can be cut."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from typing import Self

from pvsim.errors import PvsimError
from pvsim.tools.node import Node
from tests.allowed import require
from tests.broker import shell
from tests.broker.conftest import wait_until

_CONF = "cluster_partition_handling = pause_minority\nloopback_users.guest = false\n"
_RUNNING = """
case erlang:function_exported(rabbit_nodes, list_running, 0) of
    true -> rabbit_nodes:list_running();
    false -> rabbit_mnesia:cluster_nodes(running)
end
"""
_ADVANCED = "[{kernel, [{net_ticktime, 10}]}]."


class Cluster:
    """Nodes on a bridge, for `with`; root only. `hosts`: what stands behind `host =` in broker.ini."""

    def __init__(self, size: int = 3) -> None:
        self.nodes: list[Node] = []
        self._size = size
        self._name = f"pvsim{os.getpid() % 10**6}"
        self._net = f"198.18.{os.getpid() % 250}"  # RFC 2544: for tests, and routed nowhere
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        require("networks")
        with ExitStack() as stack:
            _ip(f"link add {self._name} type bridge")
            stack.callback(_ip, f"link delete {self._name}")
            _ip(f"address add {self._net}.1/24 dev {self._name}")
            _ip(f"link set {self._name} up")
            for number in range(self._size):
                peer = self.nodes[0] if self.nodes else None
                host = self._connect(stack, number)
                before = ["nsenter", f"--net=/run/netns/{self._namespace(number)}"]
                node = Node(peer=peer, host=host, before=before, conf=_CONF, advanced=_ADVANCED)
                stack.callback(node.close)
                node.start()
                if peer:
                    for command in ["stop_app"], ["join_cluster", peer.name], ["start_app"]:
                        shell.ctl(node, *command)
                self.nodes.append(node)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def hosts(self) -> str:
        """All nodes, with their ports."""
        return ", ".join(f"{node.host}:{node.port}" for node in self.nodes)

    def leaders(self) -> Counter[str]:
        """How many queues each node leads, by the name of the node."""
        node = next(node for node in self.nodes if node.is_running)
        lines = shell.ctl(node, "list_queues", "--no-table-headers", "leader").splitlines()
        return Counter(line.strip() for line in lines if "@" in line)

    def describe(self, queue: str) -> str:
        """What the nodes know of a queue."""
        running = [node for node in self.nodes if node.is_running]
        names = ["name", "state", "leader", "online", "members", "messages", "consumers"]
        lines = [line for node in running for line in shell.ctl(node, "list_queues", *names).splitlines()]
        return "\n".join(line for line in lines if line.startswith((f"{queue}\t", "name\t"))) + "\n"

    def busiest(self) -> Node:
        """The node that leads most queues."""
        name = self.leaders().most_common(1)[0][0]
        return next(node for node in self.nodes if node.name == name)

    def wait_until_united(self) -> None:
        """Until each node knows that all of them run.

        One that comes back from a partition may hang for ever as it starts (3.10, in Erlang's `global`): it is killed,
        and started again, as an administrator would do.
        """
        for node in self.nodes:
            try:
                wait_until(partial(self._holds, node, "rabbit:is_running()"), 15, f"{node.name} to run")
            except AssertionError:
                node.kill()
                node.start()
        for node in self.nodes:
            what = f"length({_RUNNING}) =:= {len(self.nodes)}"
            wait_until(partial(self._holds, node, what), 90, f"{what} at {node.name}")

    def wait_until_whole(self) -> None:
        """Until, besides, each could stop without taking the majority from any queue.

        An administrator asks `rabbitmq-queues check_if_node_is_quorum_critical` before stopping the next node.
        """
        self.wait_until_united()
        for node in self.nodes:
            what = "rabbit_quorum_queue:list_with_minimum_quorum() =:= []"
            wait_until(partial(self._holds, node, what), 90, f"{what} at {node.name}")

    def _holds(self, node: Node, what: str) -> bool:
        with suppress(PvsimError):
            return shell.ask(node, what) == "true"
        return False

    def cut_off(self, node: Node) -> None:
        """No packet comes to this node or from it any more, until `connect_again`."""
        _ip(f"link set {self._end(self.nodes.index(node))} down")

    def connect_again(self, node: Node) -> None:
        """The network of this node works again."""
        _ip(f"link set {self._end(self.nodes.index(node))} up")

    def _connect(self, stack: ExitStack, number: int) -> str:
        """A network of its own for a node, on the bridge; returns its address."""
        namespace, end, host = self._namespace(number), self._end(number), f"{self._net}.{number + 2}"
        _ip(f"netns add {namespace}")
        stack.callback(_ip, f"netns delete {namespace}")
        _ip(f"link add {end} type veth peer name eth0 netns {namespace}")
        stack.callback(_ip, f"link delete {end}")  # it would outlive its namespace for a moment
        _ip(f"link set {end} master {self._name} up")
        _ip(f"-n {namespace} address add {host}/24 dev eth0")
        _ip(f"-n {namespace} link set eth0 up")
        _ip(f"-n {namespace} link set lo up")
        return host

    def _namespace(self, number: int) -> str:
        return f"{self._name}-{number}"

    def _end(self, number: int) -> str:
        return f"{self._name}-{number}"


def _ip(command: str) -> None:
    subprocess.run(["ip", *command.split()], check=True, capture_output=True)
