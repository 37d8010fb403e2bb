"""A private RabbitMQ node in a temporary directory, on ports of its own, as any user; for `pvsim demo` and the tests.

Nothing of the system's broker is read or touched, and no host name has to resolve. Two things are less plain than they
look. RabbitMQ searches the directories of all plugins for each of its modules: given those alone that the broker
needs, it starts in half the time. And whoever owns a node may be killed at any moment: a guard, which is a shell that
waits for the end of a pipe, then ends what is left and removes the directory.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from pvsim.errors import PvsimError

HOST = "127.0.0.1"
START_S, STOP_S = 240.0, 180.0
_INSTALLED = Path("/usr/lib/rabbitmq/lib")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Below the ports that the kernel gives to outgoing connections: a node that is down keeps its port.
_PORTS = range(12_000, 32_000)
_START = "== start =="
_CONF = """\
listeners.tcp.1 = {host}:{port}
{tls}# A node for a while: a disk that is nearly full must not stop it. Memory as RabbitMQ 4 has it, on 3.10 too.
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.relative = 0.6
{user}{more}
"""
_TLS_CONF = """\
listeners.ssl.1 = {host}:{port}
ssl_options.cacertfile = {directory}/ca.pem
ssl_options.certfile = {directory}/cert.pem
ssl_options.keyfile = {directory}/key.pem
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = false
"""
_USER_CONF = """\
default_user = {username}
default_pass = {password}
"""
# A thousand queues take more files than many a shell allows.
_WITH_FILES = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0"'
# Each line of input names the process groups to end; after its end, whoever wrote it is gone.
_GUARD = """
while read -r line; do groups=$line; done
for group in $groups; do kill -s KILL -- "-$group"; done
rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }
"""


class Nest:
    """A temporary directory with processes: gone when it is closed, or when this process ends, even by SIGKILL."""

    def __init__(self, prefix: str) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=prefix, dir=_temporary()))
        self._children: list[subprocess.Popen[bytes]] = []
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self.directory)],
            bufsize=0,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(
        self, command: Sequence[str | Path], env: Mapping[str, str], log: Path, cwd: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program in `cwd` or the directory, in a session of its own; what it prints is added to `log`."""
        with log.open("ab") as output:
            child = subprocess.Popen(
                command,
                cwd=cwd or self.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children = [each for each in self._children if each.poll() is None] + [child]
        self._tell_guard(" ".join(str(each.pid) for each in self._children))
        return child

    def close(self) -> None:
        """End every process, and remove the directory; nothing happens the second time."""
        for child in self._children:
            kill(child)
        self._tell_guard("")
        assert self._guard.stdin
        self._guard.stdin.close()
        self._guard.wait()

    def _tell_guard(self, groups: str) -> None:
        assert self._guard.stdin
        if not self._guard.stdin.closed:
            self._guard.stdin.write(f"{groups}\n".encode())


class Node:
    """A RabbitMQ node on `host` and `port`, for `with`: it runs inside, and nothing of it is left afterwards.

    `port`: a given one, or 0 for any that is free. `conf`: further lines of rabbitmq.conf. `advanced`: what
    advanced.config holds, in Erlang. `plugins`: what runs beside the broker itself. `peer`: another node, which this
    one may join to make a cluster, with `ctl("join_cluster", peer.name)`. `tls`: a directory with ca.pem, cert.pem and
    key.pem, for TLS on `tls_port`. `host`: an IPv4 address to listen on, and `before`: a command that runs another one
    where that address is. `login`: name and password of the one user that it has, instead of guest.
    """

    def __init__(
        self,
        port: int = 0,
        conf: str = "",
        peer: Node | None = None,
        *,
        advanced: str = "[].",
        plugins: Sequence[str] = (),
        tls: Path | None = None,
        host: str = HOST,
        before: Sequence[str] = (),
        login: tuple[str, str] | None = None,
    ) -> None:
        installed = _installed()
        self.host = host
        self.before = before
        self._locks: list[socket.socket] = []
        self.port = self._claim(port)
        self.tls_port = self._claim() if tls else 0
        self.name = f"pvsim-{self.port}@{host}"
        self._distribution_port = self._claim()
        self._epmd_port: int = peer._epmd_port if peer else self._claim()
        self._cookie: str = peer._cookie if peer else secrets.token_hex()
        self.nest = Nest("pvsim-node-")
        self.directory = self.nest.directory
        self.log = self.directory / "node.log"
        self.environment = self._make_environment()
        self._server: subprocess.Popen[bytes] | None = None
        tls_conf = _TLS_CONF.format(host=host, port=self.tls_port, directory=tls) if tls else ""
        user_conf = _USER_CONF.format(username=login[0], password=login[1]) if login else ""
        conf = _CONF.format(host=host, port=self.port, tls=tls_conf, user=user_conf, more=conf)
        self._furnish(installed, plugins, conf)
        (self.directory / "advanced.config").write_text(advanced)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_running(self) -> bool:
        """Whether there is a server process, paused or not."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start, with the data of the last time, and wait until it speaks AMQP; PvsimError if it does not."""
        if self.is_running:
            return
        if not _answers(self.host, self._epmd_port):
            epmd = self._spawn(["epmd", "-port", str(self._epmd_port), "-address", self.host])
            self._wait_for(epmd, lambda: _answers(self.host, self._epmd_port))
        if not _is_free(self.port):
            raise PvsimError(
                f"Port {self.port} of {self.host} is taken; end whatever listens there, or give another port."
            )
        with self.log.open("a") as log:
            log.write(f"{_START}\n")
        self._server = self._spawn(["/bin/sh", "-c", _WITH_FILES, self.directory / "home/sbin/rabbitmq-server"])
        self._wait_for(self._server, lambda: _answers(self.host, self.port, b"AMQP\0\0\x09\x01"))

    def stop(self) -> None:
        """Shut down in good order; PvsimError if it takes too long (it is killed then)."""
        if not self._server or not self.is_running:
            return
        self._server.terminate()
        self.resume()
        try:
            self._server.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise PvsimError(
                f"RabbitMQ did not stop within {STOP_S:.0f} s, and was killed; {_complaint(self.log)}"
            ) from None

    def kill(self) -> None:
        """End at once, as by a power cut of the process; `start` brings it back with what is on its disk."""
        if self._server:
            kill(self._server)

    def restart(self) -> None:
        """Stop and start, on the same port, with the same data."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze the server, until `resume`: it answers nothing, and its connections stay."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Go on after `pause`."""
        self._signal(signal.SIGCONT)

    def ctl(self, *arguments: str) -> str:
        """What `rabbitmqctl` prints; PvsimError with its own words if it fails."""
        command = [*self.before, "home/sbin/rabbitmqctl", "--quiet", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_S,
            )
        except subprocess.TimeoutExpired:
            raise PvsimError(f"rabbitmqctl {' '.join(arguments)} did not end within {START_S:.0f} s.") from None
        if done.returncode:
            raise PvsimError(f"rabbitmqctl {' '.join(arguments)} failed: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def close(self) -> None:
        """End it, and remove everything."""
        self.nest.close()
        for lock in self._locks:
            lock.close()

    def _claim(self, port: int = 0) -> int:
        port, lock = _claim_port(port)
        self._locks.append(lock)
        return port

    def _make_environment(self) -> dict[str, str]:
        """Everything that scripts, server and rabbitmqctl are told; nothing comes from our own environment."""
        directory = str(self.directory)
        on_host = f"-kernel inet_dist_use_interface {{{self.host.replace('.', ',')}}}"
        return {
            "PATH": _PATH,
            "HOME": directory,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_CRASH_DUMP_BYTES": "0",
            "RABBITMQ_SCRIPTS_DIR": f"{directory}/home/sbin",
            "RABBITMQ_CONF_ENV_FILE": f"{directory}/none",
            "RABBITMQ_CONFIG_FILE": f"{directory}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{directory}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{directory}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{directory}/data",
            "RABBITMQ_LOG_BASE": f"{directory}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_NODENAME": self.name,
            "RABBITMQ_USE_LONGNAME": "true",
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            # The Erlang VM in place of the script, without a shell around it that would have to be ended as well.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": on_host,
            "RABBITMQ_CTL_ERL_ARGS": on_host,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
        }

    def _furnish(self, installed: Path, also: Sequence[str], conf: str) -> None:
        """Write what the server reads: configuration, cookie, and a RabbitMQ of links with no more than it needs."""
        plugins = self.directory / "home/plugins"
        plugins.mkdir(parents=True)
        for plugin in _needed(installed / "plugins", ["rabbit", *also]):
            (plugins / plugin.name).symlink_to(plugin)
        for name in "sbin", "escript":
            (self.directory / "home" / name).symlink_to(installed / name)
        (self.directory / "enabled_plugins").write_text(f"[{','.join(also)}].\n")
        (self.directory / "rabbitmq.conf").write_text(conf)
        cookie = self.directory / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)

    def _spawn(self, command: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        return self.nest.spawn([*self.before, *command], self.environment, self.log)

    def _wait_for(self, process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_S
        while not is_ready():
            if process.poll() is not None:
                raise PvsimError(
                    f"RabbitMQ ended with status {process.returncode} while it started; {_complaint(self.log)}"
                )
            if time.monotonic() > deadline:
                raise PvsimError(f"RabbitMQ did not start within {START_S:.0f} s; {_complaint(self.log)}")
            time.sleep(0.05)

    def _signal(self, number: signal.Signals) -> None:
        if self._server and self.is_running:
            os.killpg(self._server.pid, number)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that has a session of its own, and all of its process group, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _installed() -> Path:
    """Where RabbitMQ's own files are, or PvsimError."""
    found = sorted(_INSTALLED.glob("rabbitmq_server-*"))
    if not found:
        raise PvsimError(f"RabbitMQ is not installed ({_INSTALLED} holds none); run: apt install rabbitmq-server")
    return found[-1]


def _temporary() -> str:
    """Where temporary files go: not to a path with white space in it, which RabbitMQ's scripts cannot take."""
    return next(each for each in (tempfile.gettempdir(), "/tmp", "/var/tmp") if not re.search(r"\s", each))


def _complaint(log: Path) -> str:
    """The first errors since the last start, for its last words are Erlang's; or else the last lines."""
    lines = log.read_text("utf-8", "replace").rpartition(_START)[2].splitlines()
    errors = [line.partition("[error]")[2].strip() for line in lines if "[error]" in line]
    return "\n  ".join(["its log says:", *(errors[:12] or lines[-20:])])


def _needed(plugins: Path, applications: Sequence[str]) -> list[Path]:
    """The directories of these applications, and of those that they depend on."""
    directories = {path.stem: path.parents[1] for path in plugins.glob("*/ebin/*.app")}
    needed: list[Path] = []
    wanted = [*applications]
    for name in wanted:
        directory = directories.get(name)
        if directory and directory not in needed:
            needed.append(directory)
            description = (directory / f"ebin/{name}.app").read_text("utf-8")
            others = re.search(r"{applications,\s*\[([^]]*)]", description)
            wanted += re.findall(r"\w+", others[1]) if others else []
    return needed


def _claim_port(port: int) -> tuple[int, socket.socket]:
    """A port that is free, `port` itself if it is not 0; and a lock that keeps other nodes off it, until it is closed.

    The lock is an abstract Unix socket: it is gone with this process, and known in this network namespace alone.
    """
    _look_for_loopback()
    candidates = [port] if port else secrets.SystemRandom().sample(_PORTS, 100)
    for candidate in candidates:
        lock = socket.socket(socket.AF_UNIX)
        with suppress(OSError):
            lock.bind(f"\0pvsim-port-{candidate}")
            if _is_free(candidate):
                return candidate, lock
        lock.close()
    raise PvsimError(f"Port {port or f'{_PORTS.start} and others'} of {HOST} is taken; give another port.")


def _look_for_loopback() -> None:
    """PvsimError where this machine cannot reach itself."""
    try:
        with socket.create_server((HOST, 0)) as server, socket.create_connection(server.getsockname()):
            pass
    except OSError as error:
        what = os.strerror(error.errno or errno.EINVAL)
        raise PvsimError(
            f"This machine cannot reach itself at {HOST}: {what}; run: ip link set lo up, and ip address show lo"
        ) from None


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((HOST, port))
        return True
    return False


def _answers(host: str, port: int, greeting: bytes = b"") -> bool:
    """Whether somebody listens there, and has an answer to the greeting."""
    with suppress(OSError), socket.create_connection((host, port), timeout=5) as connection:
        connection.sendall(greeting)
        return not greeting or connection.recv(1) == b"\1"  # a frame with a method: connection.start
    return False
