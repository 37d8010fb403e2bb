"""The life of a service, in real processes: signals, systemd's socket, pid files, daemons, logs, exit statuses."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pvsim import __version__, runtime
from pvsim.runtime import Host

# A service that does what its options say, then waits for a signal without ever looking at the clock.
SERVICE = """
import argparse, logging, os, resource, select, signal, sys, time
from pvsim import runtime
from pvsim.errors import BrokerError, ConfigError

log = logging.getLogger("pvsim.example")
parser = argparse.ArgumentParser(prog="pvsim-example")
parser.add_argument("--prepare", default="")
parser.add_argument("--serve", default="")
parser.add_argument("--files", type=int, default=0)
runtime.add_options(parser)

def prepare(options):
    exec(options.prepare)
    return options

def serve(options, host):
    exec(options.serve)
    host.ready()
    poll = select.poll()
    poll.register(host.wake_fd, select.POLLIN)
    while not host.stop_requested:
        poll.poll()
        host.drain_wake()
    host.stopping()
    log.info("stopped")

sys.exit(runtime.execute(parser, prepare, serve, files=lambda options: options.files))
"""
COMMAND = [sys.executable, "-c", SERVICE]
SYSTEMD = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in SYSTEMD} | {
    "PYTHONPATH": str(Path(__file__).parents[2])
}
STOPPED = "pvsim-example: stopped\n"


class Service:
    """A running service, and what it has told systemd up to READY."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.told: list[str] = []

    def stop(self, number: int = signal.SIGTERM) -> str:
        """Stop it, be sure that it ends well, and return its log."""
        self.process.send_signal(number)
        output, log = self.process.communicate(timeout=10)
        assert (self.process.returncode, output) == (0, "")
        return log


def until(systemd: socket.socket, last: str) -> list[str]:
    """What a service tells systemd, up to this message."""
    told: list[str] = []
    while not told or told[-1] != last:
        told.append(systemd.recv(10_000).decode())
    return told


@pytest.fixture
def systemd() -> Iterator[socket.socket]:
    """A socket that stands where systemd's would."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind("")  # Linux chooses an abstract address
        notify.settimeout(10)
        yield notify


Start = Callable[..., Service]


@pytest.fixture
def start(systemd: socket.socket) -> Iterator[Start]:
    """Start a service, and wait until it is ready."""
    started: list[Service] = []
    notify_socket = {"NOTIFY_SOCKET": systemd.getsockname().replace(b"\0", b"@", 1).decode()}

    def call(*arguments: str | Path, command: list[str] = COMMAND, **environment: str) -> Service:
        full = ENVIRONMENT | notify_socket | environment
        service = Service([*command, *map(str, arguments)], full)
        started.append(service)
        service.told = until(systemd, "READY=1")
        return service

    yield call
    for service in started:
        service.process.kill()
        service.process.communicate()


def run(*arguments: str | Path) -> tuple[int, str]:
    """Exit status and stderr of a service that ends by itself."""
    done = subprocess.run([*COMMAND, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=20)
    assert done.stdout == ""
    return done.returncode, done.stderr


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops(number: int, start: Start, systemd: socket.socket) -> None:
    """SIGTERM and Ctrl-C wake a service that waits, and end it with status 0."""
    assert start().stop(number) == STOPPED
    assert until(systemd, "STOPPING=1") == ["STOPPING=1"]


def test_stops_once(start: Start) -> None:
    """Impatience changes nothing, and nobody's hangup reaches a service without a terminal."""
    service = start("--serve", "signal.raise_signal(signal.SIGHUP); assert not host.stop_requested")
    service.process.send_signal(signal.SIGINT)
    service.process.send_signal(signal.SIGINT)
    assert service.stop() == STOPPED


def test_stopped_stays_stopped() -> None:
    """Impatience at the very end, when Python has given up its handlers, does not spoil the exit status."""
    code = (
        "class Last:\n    def __del__(self, kill=os.kill, me=os.getpid()): kill(me, 2)\n"
        "globals()['last'] = Last(); host.stop_requested = True"
    )
    assert run("--serve", code) == (0, STOPPED)


@pytest.mark.parametrize("nohup", [False, True])
def test_terminal_is_closed(nohup: bool, tmp_path: Path) -> None:
    """A service ends well when its terminal is closed, unless nohup started it."""
    code = f"log.addHandler(logging.FileHandler('{tmp_path}/log')); os.write(1, b'up')"
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)
        os.execve(sys.executable, [*COMMAND, "--serve", code], ENVIRONMENT)
    assert os.read(terminal, 2) == b"up"
    os.close(terminal)
    if nohup:
        time.sleep(0.2)
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        os.kill(pid, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "log").read_text() == "stopped\n"


def test_interrupted_early() -> None:
    """Ctrl-C before there is a service ends the command quietly."""
    as_in_a_terminal = "signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's & lets it be ignored
    assert run("--prepare", f"{as_in_a_terminal}; signal.raise_signal(signal.SIGINT)") == (0, "")


def test_signal_before_the_wake_descriptor() -> None:
    """A signal that has come before there was anything to wake wakes all the same, once."""
    host = Host()
    host.request_stop(signal.SIGTERM, None)
    with host:
        assert select.select([host.wake_fd], [], [], 0)[0]
        host.drain_wake()
        assert not select.select([host.wake_fd], [], [], 0)[0]


# systemd


EVIL = "\x1b]0;x\x07 \r\n\u202e<0>x \x9b2J"


def test_nothing_foreign_is_obeyed(start: Start) -> None:
    """No escape sequence, newline or turn of direction gets into a status, a log line or a last sentence."""
    service = start("--serve", f"host.status({EVIL!r}); log.warning('%s', {EVIL!r})")
    log = service.stop()
    assert service.told == ["STATUS=\\x1b]0;x\\x07 \\u202e<0>x \\x9b2J", "READY=1"]
    escaped = "\\x1b]0;x\\x07 \\r\\n\\u202e<0>x \\x9b2J"
    assert log.splitlines()[0] == f"pvsim-example: warning: {escaped}"
    assert run("--serve", f"raise BrokerError({EVIL!r})") == (1, f"pvsim-example: {escaped}\n")
    status, text = run("--serve", f"raise ValueError({EVIL!r})")
    assert status == 1
    assert text.replace("\n", "").isprintable()


def test_status(start: Start) -> None:
    """A status is one line of UTF-8, sent when it has changed, and no longer than systemd takes."""
    code = "host.status('1 meter,\\n → ä\\udcff'); host.status('1 meter, → ä\\udcff'); host.status('x' * 9999)"
    told = start("--serve", code).told
    assert told == ["STATUS=1 meter, → ä\\udcff", f"STATUS={'x' * 1000}", "READY=1"]


def test_watchdog(start: Start) -> None:
    """The watchdog is fed every quarter of its period, however often the loop comes by."""
    code = "for _ in range(1000): host.alive()\ntime.sleep(0.3); host.alive()"
    assert start("--serve", code, WATCHDOG_USEC="1000000").told == ["WATCHDOG=1", "WATCHDOG=1", "READY=1"]
    assert start("--serve", code).told == ["READY=1"]


def test_watchdog_of_this_process(start: Start) -> None:
    """A watchdog that is meant for another process is not fed."""
    alive = ("--serve", "host.alive()")
    assert start(*alive, WATCHDOG_USEC="9000000", WATCHDOG_PID="1").told == ["READY=1"]
    command = ["sh", "-c", 'WATCHDOG_PID=$$ exec "$0" "$@"', *COMMAND]
    assert start(*alive, command=command, WATCHDOG_USEC="9000000").told == ["WATCHDOG=1", "READY=1"]


def test_without_systemd() -> None:
    """Where nobody listens, nothing is said."""
    code = "host.status('x'); host.alive(); host.stop_requested = True"
    assert run("--serve", code) == (0, STOPPED)


# How it ends


@pytest.mark.parametrize("when", ["--prepare", "--serve"])
def test_errors_of_a_user(when: str) -> None:
    """A PvsimError is one sentence and its own exit status."""
    assert run(when, "raise ConfigError('50% is bad.')") == (78, "pvsim-example: 50% is bad.\n")
    assert run(when, "raise BrokerError('No.')", "--log-level", "error") == (1, "pvsim-example: No.\n")


@pytest.mark.parametrize("when", ["--prepare", "--serve"])
def test_unexpected_errors(when: str) -> None:
    """Any other error is logged with its traceback, and the exit status is 1."""
    status, log = run(when, "1 / 0")
    assert status == 1
    assert log.startswith("pvsim-example: ended by an unexpected ZeroDivisionError: division by zero\nTraceback (most")


def test_options() -> None:
    """Wrong options are argparse's business."""
    for options, message in [
        (["--log-level", "x"], "argument --log-level: invalid choice"),
        (["--detach"], "--detach needs --pid-file FILE"),
    ]:
        status, text = run(*options)
        assert status == 2
        assert message in text
    version = subprocess.run([*COMMAND, "-V"], env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert version.stdout == f"pvsim-example {__version__}\n"


# Where it lives


def test_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service keeps directory, terminal and session; its files are not for others, nor is its memory."""
    monkeypatch.chdir(tmp_path)
    code = (
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0);"
        f"assert os.getsid(0) == {os.getsid(0)};"
        "open('here', 'w'); host.stop_requested = True"
    )
    assert run("--serve", code) == (0, STOPPED)
    assert (tmp_path / "here").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "limits, wanted, given", [("80:2000", 1_000, 1_000), ("2000:2000", 100, 100), ("80:200", 1_000, 136)]
)
def test_files(limits: str, wanted: int, given: int) -> None:
    """It may open the files that it needs, as far as the hard limit goes, and no more: python-daemon looks at each."""
    code = (
        f"assert host.files == {given};"
        "limits = resource.getrlimit(resource.RLIMIT_NOFILE); assert limits[0] == limits[1] == host.files + 64;"
        f"files = [open('/dev/null') for _ in range({given})];"
        "host.stop_requested = True"
    )
    command = ["prlimit", f"--nofile={limits}", *COMMAND, "--files", str(wanted), "--serve", code]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, STOPPED)


def test_closed_streams(tmp_path: Path) -> None:
    """Whoever starts a service may have closed its standard streams."""
    code = f"open('{tmp_path}/done', 'w'); host.stop_requested = True"
    script = 'exec "$0" "$@" <&- >&- 2>&-'
    done = subprocess.run(["sh", "-c", script, *COMMAND, "--serve", code], env=ENVIRONMENT, check=False)
    assert done.returncode == 0
    assert (tmp_path / "done").exists()


def test_closed_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A current directory that this user may not enter is no obstacle, as after sudo -u pvsim in /root."""
    monkeypatch.chdir(tmp_path)
    shut = "import daemon; os.chmod('.', 0o600); os.getuid() or os.setuid(65534)"
    code = "assert os.getcwd() == '/'; host.stop_requested = True"
    assert run("--prepare", shut, "--serve", code) == (0, STOPPED)
    tmp_path.chmod(0o700)


# Logging


def test_log_lines() -> None:
    """`program: sentence`, one line a record, from the wanted level on; pika is heard at DEBUG only."""
    code = (
        "log.debug('d'); log.info('a %s', 'b\\nc'); log.warning('w');"
        "logging.getLogger('pika.x').error('p'); host.stop_requested = True"
    )
    assert run("--serve", code) == (0, f"pvsim-example: a b\\nc\npvsim-example: warning: w\n{STOPPED}")
    for quiet in (["--log-level", "WARNING"], ["-q"], ["--quiet"]):
        assert run("--serve", code, *quiet) == (0, "pvsim-example: warning: w\n")
    for verbose in (["--log-level", "debug"], ["-v"], ["--verbose"]):
        output = run("--serve", code, *verbose)[1]
        assert "pvsim-example: debug: pvsim.example: d\n" in output
        assert "pvsim-example: error: p\n" in output
    assert run("--serve", code, "-q", "-v")[0] == 2


def journal(*arguments: str) -> str:
    """What a service writes to a stderr that is the journal."""
    reader, writer = os.pipe()
    stream = os.fstat(writer)
    environment = ENVIRONMENT | {"JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"}
    with os.fdopen(reader) as pipe:
        subprocess.run([*COMMAND, *arguments], env=environment, stderr=writer, check=False)
        os.close(writer)
        return pipe.read()


def test_journal() -> None:
    """What goes to the journal over stderr has its priority in front of each line, and no name: it has that."""
    assert journal("--prepare", "log.warning('w'); raise ConfigError('c')") == "<4>w\n<3>c\n"
    lines = journal("--prepare", "1 / 0").splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


def test_journal_without_its_library() -> None:
    """Without python3-systemd, a service writes to the journal over stderr as long as it lives."""
    code = "sys.modules['systemd'] = None; log.info('before')"
    assert journal("--prepare", code, "--serve", "log.info('in'); raise BrokerError('b')") == "<6>before\n<6>in\n<3>b\n"


# Pid files


def test_pid_file(start: Start, tmp_path: Path) -> None:
    """The pid file holds the process id while the service runs, and is gone afterwards."""
    path = tmp_path / "pid"
    service = start("--pid-file", path)
    assert path.read_text() == f"{service.process.pid}\n"
    status, sentence = run("--pid-file", path)
    assert status == 1
    assert sentence == (
        f"pvsim-example: {path} is held by process {service.process.pid};"
        " stop that one first, or give another --pid-file.\n"
    )
    assert path.read_text() == f"{service.process.pid}\n"
    service.stop()
    assert not path.exists()


def test_stale_pid_file(start: Start, tmp_path: Path) -> None:
    """What a killed service left behind stops nobody, even if its number is somebody else's by now."""
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()} and more digits would not matter\n"[: len(str(os.getpid()))])
    service = start("--pid-file", path)
    service.process.kill()
    service.process.wait()
    assert path.read_text() == f"{service.process.pid}\n"
    start("--pid-file", path).stop()


def test_pid_file_that_a_reader_locks(start: Start, tmp_path: Path) -> None:
    """Who may read a stale pid file may lock it, and stops nobody with that; a running service still holds it."""
    path = tmp_path / "pid"
    path.write_text("1\n")
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        service = start("--pid-file", path)
        assert run("--pid-file", path)[1] == (
            f"pvsim-example: {path} is held by process {service.process.pid};"
            " stop that one first, or give another --pid-file.\n"
        )
    assert run("--pid-file", path)[0] == 1
    service.stop()


def test_pid_file_that_is_a_link(tmp_path: Path) -> None:
    """What a link points to is neither created nor changed: the directory may be somebody else's."""
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for content in None, "1\n":
        if content:
            (tmp_path / "target").write_text(content)
        status, sentence = run("--pid-file", tmp_path / "link")
        assert status == 78
        assert "link cannot be the pid file: Too many levels of symbolic links; give another --pid-file." in sentence
        assert (tmp_path / "target").exists() == bool(content)
    assert (tmp_path / "target").read_text() == "1\n"


def test_pid_file_of_somebody_else(start: Start, tmp_path: Path) -> None:
    """A pid file that was removed under a running service, and made anew by another one, is left to that one."""
    path = tmp_path / "pid"
    first = start("--pid-file", path)
    path.unlink()
    second = start("--pid-file", path)
    first.stop()
    assert path.read_text() == f"{second.process.pid}\n"
    second.stop()


def test_no_pid_file(tmp_path: Path) -> None:
    """What can be no pid file is said to be none, and is not touched."""
    other = tmp_path / "letter"
    other.write_text("Dear reader")
    os.mkfifo(tmp_path / "fifo")
    for path, reason in [
        (other, "does not hold a process id; give another --pid-file."),
        (tmp_path / "fifo", "cannot be the pid file: it is not a regular file; give another --pid-file."),
        (tmp_path, "cannot be the pid file: Is a directory; give another --pid-file."),
        (tmp_path / "no" / "pid", "cannot be the pid file: No such file or directory; give another --pid-file."),
    ]:
        assert run("--pid-file", path) == (78, f"pvsim-example: {path} {reason}\n")
    assert other.read_text() == "Dear reader"


# Daemons


def test_detached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command returns when the service is ready; relative paths mean what they did, stderr's file is the log."""
    monkeypatch.chdir(tmp_path)
    code = (
        "time.sleep(0.2); null = os.stat(os.devnull);"
        "assert list(map(os.path.samestat, map(os.fstat, (0, 1, 2)), [null] * 3)) == [True, True, False];"
        f"assert os.getsid(0) not in ({os.getsid(0)}, os.getpid());"
        "open('here', 'w'); log.info('up')"
    )
    command = [*COMMAND, "--detach", "--pid-file", "pid", "--serve", code]
    with Path("log").open("w") as log:
        done = subprocess.run(command, env=ENVIRONMENT, input=b"", stdout=log, stderr=log, timeout=20, check=False)
    assert done.returncode == 0
    assert Path("here").exists()
    pid = int(Path("pid").read_text())
    assert run("--pid-file", "pid", "--detach")[1].startswith("pvsim-example: ")
    with Path("pid").open() as pid_file:
        os.kill(pid, signal.SIGHUP)
        os.kill(pid, signal.SIGTERM)
        fcntl.flock(pid_file, fcntl.LOCK_EX)  # comes free when the process is gone
    assert not Path("pid").exists()
    assert Path("log").read_text() == f"pvsim-example: up\n{STOPPED}"


def test_detached_lets_go(tmp_path: Path) -> None:
    """A detached service holds neither the terminal nor the pipes of the command that started it."""
    pid_file = tmp_path / "pid"
    status, text = run("--detach", "--pid-file", pid_file)
    assert status == 0
    assert ("There is no syslog here" in text) != Path("/dev/log").exists()
    os.kill(int(pid_file.read_text()), signal.SIGTERM)


def test_detached_fails(tmp_path: Path) -> None:
    """What keeps a service from starting reaches the terminal, before and after the fork, with its exit status."""
    detach = ("--detach", "--pid-file", tmp_path / "pid")
    for when in ("--prepare", "--serve"):
        status, text = run(*detach, when, "raise ConfigError('Bad → thing.')")
        assert (status, text.splitlines()[-1]) == (78, "pvsim-example: Bad → thing.")
    status, text = run(*detach, "--serve", "os._exit(5)")
    assert (status, text.splitlines()[-1]) == (1, "The service ended before it was ready.")


def test_a_slow_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """systemd is told how far it is, and to wait on; a quick start says nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, caplog.at_level(logging.INFO):
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        runtime.Starting()("reading x.csv, 1 % of 9 MB")
        assert not caplog.text
        monkeypatch.setattr("pvsim.runtime.host._SLOW_START_S", 0)
        runtime.Starting()("reading x.csv, 2 % of 9 MB")
        told = systemd.recv(4096).decode()
    assert told == "STATUS=Starting: reading x.csv, 2 % of 9 MB\nEXTEND_TIMEOUT_USEC=60000000"
    assert "Starting: reading x.csv, 2 % of 9 MB." in caplog.text
