"""A private RabbitMQ node in a temporary directory, on ports of its own, as any user; for `pvsim demo` and the tests.

Nothing of the system's broker is read or touched, and no host name has to resolve. Three things are less plain than
they look. RabbitMQ searches the directories of all plugins for each of its modules: given those alone that the broker
needs, it starts in half the time. It loads all modules one by one, for which Erlang copies its table of functions each
time: loaded together before, it starts in half of that. And whoever owns a node may be killed at any moment (see
nest.py).
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from pvsim.errors import PvsimError
from pvsim.tools.nest import Nest, kill
from pvsim.tools.ports import HOST, Ports, answers, is_free

START_S, STOP_S = 240.0, 180.0
_INSTALLED = Path("/usr/lib/rabbitmq/lib")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
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
_LOAD = (
    '_=code:ensure_modules_loaded([list_to_atom(filename:basename(F,".beam"))'
    '||A<-[{}],D<-[code:lib_dir(A)],is_list(D),F<-filelib:wildcard(D++"/ebin/*.beam")]).'
)
# A thousand queues take more files than many a shell allows.
_WITH_FILES = 'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"; exec "$0"'


class Node:
    """A RabbitMQ node on `host` and `port`, for `with`: it runs inside, and nothing of it is left afterwards.

    `port`: a given one, or 0 for any that is free. `conf`: further lines of rabbitmq.conf. `advanced`: what
    advanced.config holds, in Erlang. `plugins`: what runs beside the broker itself. `peer`: another node, which this
    one may join to make a cluster, with `ctl("join_cluster", peer.name)`. `tls`: a directory with ca.pem, cert.pem and
    key.pem, for TLS on `tls_port`. `host`: an IPv4 address to listen on, and `before`: a command that runs another one
    where that address is. `login`: name and password of the one user that it has, instead of guest.

    It is long because whoever has a node may do with it all that an administrator may: start, stop, kill, freeze, ask.
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
        applications = _needed(installed / "plugins", ["rabbit", *plugins])
        self.host = host
        self.before = before
        self._ports = Ports()
        self.port = self._ports.claim(port)
        self.tls_port = self._ports.claim() if tls else 0
        self.name = f"pvsim-{self.port}@{host}"
        self._distribution_port = self._ports.claim()
        self._epmd_port: int = peer._epmd_port if peer else self._ports.claim()
        self._cookie: str = peer._cookie if peer else secrets.token_hex()
        self.nest = Nest("pvsim-node-")
        self.environment = self._make_environment(applications)
        self._server: subprocess.Popen[bytes] | None = None
        tls_conf = _TLS_CONF.format(host=host, port=self.tls_port, directory=tls) if tls else ""
        user_conf = _USER_CONF.format(username=login[0], password=login[1]) if login else ""
        conf = _CONF.format(host=host, port=self.port, tls=tls_conf, user=user_conf, more=conf)
        self._furnish(installed, applications, plugins, conf)
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
    def directory(self) -> Path:
        """Where everything of it is."""
        return self.nest.directory

    @property
    def log(self) -> Path:
        """What the server prints."""
        return self.directory / "node.log"

    @property
    def is_running(self) -> bool:
        """Whether there is a server process, paused or not."""
        return self._server is not None and self._server.poll() is None

    def start(self) -> None:
        """Start, with the data of the last time, and wait until it speaks AMQP; PvsimError if it does not."""
        if self.is_running:
            return
        if not answers(self.host, self._epmd_port):
            epmd = self._spawn(["epmd", "-port", str(self._epmd_port), "-address", self.host])
            self._wait_for(epmd, lambda: answers(self.host, self._epmd_port))
        if not is_free(self.port):
            raise PvsimError(
                f"Port {self.port} of {self.host} is taken; end whatever listens there, or give another port."
            )
        with self.log.open("a") as log:
            log.write(f"{_START}\n")
        self._server = self._spawn(["/bin/sh", "-c", _WITH_FILES, self.directory / "home/sbin/rabbitmq-server"])
        self._wait_for(self._server, lambda: answers(self.host, self.port, b"AMQP\0\0\x09\x01"))

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
        self._ports.close()

    def _make_environment(self, applications: Iterable[str]) -> dict[str, str]:
        """Everything that scripts, server and rabbitmqctl are told; nothing comes from our own environment."""
        directory = str(self.directory)
        load = _LOAD.format(",".join(applications))
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
            # RabbitMQ boots when its modules are loaded.
            "RABBITMQ_NODE_ONLY": "1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{on_host} -eval {load} -s rabbit boot",
            "RABBITMQ_CTL_ERL_ARGS": on_host,
            "RABBITMQ_CTL_DIST_PORT_MIN": "0",
            "RABBITMQ_CTL_DIST_PORT_MAX": "0",
        }

    def _furnish(
        self, installed: Path, applications: Mapping[str, Path | None], also: Sequence[str], conf: str
    ) -> None:
        """Write what the server reads: configuration, cookie, and a RabbitMQ of links with no more than it needs."""
        plugins = self.directory / "home/plugins"
        plugins.mkdir(parents=True)
        for plugin in filter(None, applications.values()):
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


def _installed() -> Path:
    """Where RabbitMQ's own files are, or PvsimError."""
    found = sorted(_INSTALLED.glob("rabbitmq_server-*"))
    if not found:
        raise PvsimError(f"RabbitMQ is not installed ({_INSTALLED} holds none); run: apt install rabbitmq-server")
    return found[-1]


def _complaint(log: Path) -> str:
    """The first errors since the last start, for its last words are Erlang's; or else the last lines."""
    lines = log.read_text("utf-8", "replace").rpartition(_START)[2].splitlines()
    errors = [line.partition("[error]")[2].strip() for line in lines if "[error]" in line]
    return "\n  ".join(["its log says:", *(errors[:12] or lines[-20:])])


def _needed(plugins: Path, applications: Sequence[str]) -> dict[str, Path | None]:
    """These applications, and those that they depend on: RabbitMQ's with their directories, Erlang's with None."""
    directories = {path.stem: path.parents[1] for path in plugins.glob("*/ebin/*.app")}
    needed: dict[str, Path | None] = {}
    wanted = [*applications]
    for name in wanted:
        if name not in needed:
            directory = needed[name] = directories.get(name)
            wanted += _dependencies(directory / f"ebin/{name}.app") if directory else []
    return needed


def _dependencies(description: Path) -> list[str]:
    """What an application depends on."""
    found = re.search(r"{applications,\s*\[([^]]*)]", description.read_text("utf-8"))
    return re.findall(r"\w+", found[1]) if found else []
