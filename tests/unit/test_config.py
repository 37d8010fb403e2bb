"""Configuration files become settings, or a sentence that says where what is wrong and what would be right."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pvsim import config
from pvsim.config import Address, BrokerSettings, MeterSettings, PvSettings, Simulation
from pvsim.errors import ConfigError
from pvsim.models import load as loads
from pvsim.models import solar
from pvsim.models.faults import Fault, Periods
from tests.examples import examples

SHIPPED = Path(__file__).parents[2] / "etc" / "pvsim"
TABLES = {"broker": config.BROKER, "meter": config.METER, "pv": config.PV}
Write = Callable[[str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Make a file of this content."""

    def make(content: str | bytes) -> Path:
        path = tmp_path / "some.ini"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return make


def simulation(path: Path) -> Simulation:
    return config.load_simulation(path, None)


def port(path: Path | None) -> int:
    return config.load_broker(path).addresses[0].port


# What the files say


def test_defaults_where_no_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing default file means the defaults."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.setattr("pvsim.config.broker.BROKER_FILE", tmp_path / "broker.ini")
    monkeypatch.setattr("pvsim.config.simulation.SIMULATION_FILE", tmp_path / "simulation.ini")
    assert config.load_broker(None) == BrokerSettings(source=str(tmp_path / "broker.ini"))
    assert config.load_simulation(None, None) == Simulation(source=str(tmp_path / "simulation.ini"))


def test_every_key_of_the_broker(write: Write) -> None:
    """Each key reaches its field; a password may hold what means something elsewhere in an ini file."""
    path = write(
        "# a comment\n[broker]\nhost = 192.0.2.7\nPORT: 1\nusername = ü ser\npassword = a#b ;c %s %(x)s = : \\\n"
        "; another\nvirtual_host = /a b\ntls = YES\nca_file = ca.pem\ncert_file = /x/y.pem\nkey_file = keys/key.pem\n"
        "verify = no\nlogin = password\nheartbeat = 0\nconnect_timeout = 600\nqueue_type = classic\n"
        "max_queue_length = 1000000000\n"
    )
    password = "a#b ;c %s %(x)s = : \\"
    assert config.load_broker(path) == BrokerSettings(
        addresses=(Address("192.0.2.7", 1),),
        username="ü ser",
        password=password,
        virtual_host="/a b",
        tls=True,
        ca_file=path.parent / "ca.pem",
        cert_file=Path("/x/y.pem"),
        key_file=path.parent / "keys/key.pem",
        verify=False,
        heartbeat_s=0,
        connect_timeout_s=600,
        queue_type="classic",
        max_queue_length=10**9,
        source=str(path),
    )


HOSTS = [
    ("localhost", "localhost:5672"),
    ("a", "a:5672"),
    ("broker-1.example.com.", "broker-1.example.com.:5672"),
    ("under_score:1", "under_score:1"),
    ("10.0.0.1", "10.0.0.1:5672"),
    ("::1", "[::1]:5672"),
    ("[::1]", "[::1]:5672"),
    ("[fe80::1%eth0]:65535", "[fe80::1%eth0]:65535"),
    ("::ffff:10.0.0.1", "[::ffff:10.0.0.1]:5672"),
    ("a, b:5673,::1", "a:5672 b:5673 [::1]:5672"),
    ("a,b:1\nport = 2", "a:2 b:1"),
    ("a,b:1\ntls = yes", "a:5671 b:1"),
    ("a,b:1\ntls = yes\nport = 3", "a:3 b:1"),
]


@pytest.mark.parametrize("text,addresses", HOSTS)
def test_hosts(text: str, addresses: str, write: Write) -> None:
    """One host or several, names and addresses of both kinds; a port of its own counts before the one for all."""
    found = config.load_broker(write(f"[broker]\nhost = {text}\n")).addresses
    assert " ".join(map(str, found)) == addresses


def test_login_by_certificate(write: Write) -> None:
    """Name and password play no part then."""
    found = config.load_broker(write("[broker]\ntls = yes\nlogin = certificate\ncert_file = a.pem\n"))
    assert found.external


def test_password_in_a_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one line, with an end of the line or without; systemd's credential comes first."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    path, secret = write("[broker]\npassword_file = secret\n"), tmp_path / "secret"
    for content in ("pass#word ", "pass#word \n", "pass#word \r\n"):
        secret.write_bytes(content.encode())
        assert config.load_broker(path).password == "pass#word "
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert config.load_broker(path).password == "pass#word "
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/broker-password").write_text("\n")  # as the units have it where none is kept
    assert config.load_broker(path).password == "pass#word "
    (tmp_path / "credentials/broker-password").write_text("of systemd\n")
    assert config.load_broker(path).password == "of systemd"
    assert config.load_broker(write("[broker]\npassword = x\n")).password == "of systemd"


def test_password_in_the_credential_store(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, root has the password that systemd hands over, unless another file is named."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    default = write("[broker]\npassword = x\n")
    monkeypatch.setattr("pvsim.config.broker.BROKER_FILE", default)
    monkeypatch.setattr("pvsim.config.broker.PASSWORD_FILE", tmp_path / "store")
    assert config.load_broker(None).password == "x"
    (tmp_path / "store").write_text("stored\n")
    assert config.load_broker(None).password == "stored"
    assert config.load_broker(default).password == "x"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "none"))
    assert config.load_broker(None).password == "x"


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\n\n", b"a\tb"])
def test_no_password_in_the_file(content: bytes, write: Write, tmp_path: Path) -> None:
    """What cannot be a password is a sentence that names the file, and does not quote it."""
    (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError, match=re.escape(f"password_file: {tmp_path}/secret does not hold a password;")):
        config.load_broker(write("[broker]\npassword_file = secret\n"))


def test_every_key_of_the_simulation(write: Write) -> None:
    """Each key reaches its field, in its unit."""
    path = write(
        "[meter]\nnb_meter = 3\nmodel = random\nseed = -9223372036854775808\ninterval = 0.250\nbacklog = 90.5\n"
        "batch = 1\n[pv]\nmodel = random\nseed = +7\npeak_kw = .000001\ntimezone = Europe/Berlin\n"
        "time_window = 3600.5\n[pv M]\ntime_window =\n"
    )
    found = simulation(path)
    assert (found.nb_meter, found.timezone, found.source) == (3, "Europe/Berlin", str(path))
    assert found.meter("any") == MeterSettings("random", -(2**63), 250_000_000, 90_500_000_000, 1)
    assert found.pv("any") == PvSettings("random", 7, 3_600_500_000_000, {"peak_kw": Decimal("0.000001")})
    assert found.pv("M") == PvSettings("random", 7, None, {"peak_kw": Decimal("0.000001")})


def test_ids_that_differ(write: Write) -> None:
    """A section for some ids changes what it names, and only for them; two sections may share an id."""
    found = simulation(
        write(
            "[meter]\nseed = 1\n[meter Meter_2..4 x]\ninterval = 5\n[meter Meter_3]\nbatch = 9\n"
            "[meter  Meter_4 ]\ninterval = 5.0\n[pv Meter_3]\npeak_kw = 8\n"
        )
    )
    assert found.meter("Meter_1") == MeterSettings(seed=1)
    assert found.meter("Meter_2") == found.meter("x") == MeterSettings(seed=1, interval_ns=5 * 10**9)
    assert found.meter("Meter_3") == MeterSettings(seed=1, interval_ns=5 * 10**9, batch=9)
    assert found.meter("Meter_2") is found.meter("x")
    assert found.pv("Meter_3") == PvSettings(parameters={"peak_kw": Decimal(8)})
    assert found.pv("Meter_2") == PvSettings()


def test_ten_thousand_ids(write: Write) -> None:
    """A large fleet is read in no time, whether its ids stand in ranges or each in a section of its own."""
    each = "".join(f"[meter M_{number}]\nseed = {number}\n" for number in range(10_000))
    path = write(f"{each}[meter M_0..9999]\nbatch = 5\n[pv M_0..9999]\npeak_kw = 2\n")
    start = time.process_time()
    found = simulation(path)
    assert time.process_time() - start < 3
    assert found.meter("M_9999") == MeterSettings(seed=9999, batch=5)
    assert found.pv("M_17") is found.pv("M_18")


def test_windows_text(write: Write) -> None:
    """A byte order mark and carriage returns are no part of what is said."""
    assert port(write(b"\xef\xbb\xbf[broker]\r\nport = 1\r\n")) == 1


def test_password_is_not_shown(write: Write) -> None:
    """Neither the settings' text nor an error holds the password."""
    assert "secret" not in repr(config.load_broker(write("[broker]\npassword = secret\n")))
    for broken in ("password = secret\n more = x", "password = secret\nsecret", "password = secret\x07"):
        with pytest.raises(ConfigError) as caught:
            config.load_broker(write(f"[broker]\n{broken}\n"))
        assert "secret" not in str(caught.value)


SECRET = "hunter2Xq"
MISPLACED = [
    f"password {SECRET}",
    f"password {SECRET} = x",
    f"password {SECRET}=",
    f"password {SECRET}:x",
    f"password={SECRET}\npassword={SECRET}",
    f"password {SECRET}=1\npassword {SECRET}=1",
    f"passwd = {SECRET}",
    f"secret = {SECRET}",
    f"{SECRET} = password",
    f"password{SECRET} = x",
    f"password_file = {SECRET}",
    f"password_file = /{SECRET}/x",
    f"password_file = {SECRET}\x07",
    f"password = {SECRET}\npassword_file = {SECRET}",
    f"host = amqp://user:{SECRET}@localhost/",
    f"host = amqp://user:{SECRET}@@localhost",
    f"host = amqp://user:{SECRET}@localhost\nport = 1\nvirtual_host = {SECRET}://",
    f"host = user:{SECRET}@localhost",
    f"host = http://user:{SECRET}@localhost",
    f"host = localhost password={SECRET}",
    f"url = amqp://user:{SECRET}@localhost/\nhost = b",
    f"url = {SECRET}",
    f"port = 5672 password = {SECRET}",
    f"heartbeat = amqp://user:{SECRET}@localhost",
    f"username = amqp://user:{SECRET}@localhost",
    f"virtual_host = amqp://user:{SECRET}@localhost",
    f"login = password {SECRET}",
    f"[pasword {SECRET}",
]


@pytest.mark.parametrize("text", MISPLACED)
def test_secrets_are_not_echoed(text: str, write: Write) -> None:
    """What may be a secret is in no error, wherever it was written; the error says where to look."""
    path = write(f"[broker]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        config.load_broker(path)
    assert str(caught.value).startswith(str(path))
    assert SECRET not in str(caught.value)


URLS = [
    ("amqp://a", {"addresses": (Address("a"),)}),
    ("amqps://a", {"addresses": (Address("a", 5671),), "tls": True}),
    ("amqp://u@a:1/v", {"addresses": (Address("a", 1),), "username": "u", "virtual_host": "v"}),
    ("amqp://u:@a", {"addresses": (Address("a"),), "username": "u", "password": ""}),
    (
        "amqps://u%40x:p%3A%2f%25%40@[::1]:7,b/%2Fv",
        {
            "addresses": (Address("::1", 7), Address("b", 5671)),
            "tls": True,
            "username": "u@x",
            "password": "p:/%@",
            "virtual_host": "/v",
        },
    ),
    ("amqp://a,b:9\nport = 8\nusername = u", {"addresses": (Address("a", 8), Address("b", 9)), "username": "u"}),
]


@pytest.mark.parametrize("key", ["url", "host"])
@pytest.mark.parametrize("text,fields", URLS)
def test_urls(key: str, text: str, fields: dict[str, object], write: Write) -> None:
    """A URL stands for the keys that it gives, in host, too; the others hold beside it."""
    path = write(f"[broker]\n{key} = {text}\n")
    assert config.load_broker(path) == BrokerSettings(source=str(path), **fields)  # type: ignore[arg-type]


# Where they are looked for


def test_credential_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    """systemd's copy counts, and messages name the file that it is a copy of."""
    default = write("[broker]\nport = 1\n")
    monkeypatch.setattr("pvsim.config.broker.BROKER_FILE", default)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert port(None) == 1
    copy = tmp_path / "credentials" / default.name
    copy.parent.mkdir()
    copy.write_text("[broker]\nport = 2\n")
    assert config.load_broker(None) == BrokerSettings(addresses=(Address("localhost", 2),), source=str(default))
    copy.write_text("[broker]\nport = none\n")
    with pytest.raises(ConfigError, match=re.escape(f"{default}: [broker] port = none is not")):
        config.load_broker(None)
    copy.write_text("")
    assert port(None) == 5672


def test_simulation_is_beside_the_broker(tmp_path: Path) -> None:
    """Whoever names a broker.ini gets the simulation.ini beside it, or the defaults."""
    beside = tmp_path / "simulation.ini"
    assert config.load_simulation(None, tmp_path / "b.ini") == Simulation(source=str(beside))
    beside.write_text("[meter]\nnb_meter = 5\n")
    assert config.load_simulation(None, tmp_path / "b.ini").nb_meter == 5


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is one of the current directory; messages name the whole of it."""
    monkeypatch.chdir(tmp_path)
    Path("b.ini").write_text("[broker]\nport = 7\n")
    assert config.load_broker(Path("b.ini")) == BrokerSettings(
        addresses=(Address("localhost", 7),), source=str(tmp_path / "b.ini")
    )


@pytest.mark.parametrize("load", [config.load_broker, simulation])
def test_files_that_cannot_be_read(load: Callable[[Path], object], tmp_path: Path, write: Write) -> None:
    """A file that was named and cannot be used is a sentence that names it."""
    cases = [
        (tmp_path / "none.ini", "none.ini does not exist; create it, or name another file."),
        (tmp_path, "cannot be read: Is a directory; give a file that this user may read."),
        (write("") / "x", "cannot be read: Not a directory; give a file that this user may read."),
        (Path("/dev/zero"), "/dev/zero is larger than 16 MiB; give a configuration file."),
        (write(b"[broker]\nhost = \xe4\n"), "some.ini: line 2 is not UTF-8; save the file as UTF-8."),
    ]
    for path, sentence in cases:
        with pytest.raises(ConfigError, match=re.escape(sentence)):
            load(path)


def test_permission(write: Write) -> None:
    """A file that this user may not read is said to be so."""
    path = write("[broker]\n")
    path.chmod(0)
    if os.getuid() == 0:  # root may read anything: only as somebody else is there something to see
        path.parent.chmod(0o755)
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            os._exit(cannot_be_read(path))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    else:
        assert cannot_be_read(path) == 0


def cannot_be_read(path: Path) -> int:
    try:
        config.load_broker(path)
    except ConfigError as error:
        return 0 if "cannot be read: Permission denied; use sudo, or give a file" in str(error) else 2
    return 1


# What is refused

INT64 = "give a whole number from -9223372036854775808 to 9223372036854775807."
INTERVAL = "is not an interval; give seconds from 0.001 to 86400, whole milliseconds."
KW = "is not a peak power; give kW, more than 0 and at most 1000000, with at most 6 decimals."
BROKER_ERRORS = [
    ("port = abc", "[broker] port = abc is not a port; give a whole number from 1 to 65535."),
    ("port =", "[broker] port = (nothing) is not a port; give a whole number from 1 to 65535."),
    ("port = 0", "[broker] port = 0 is not a port"),
    ("port = 65536", "[broker] port = 65536 is not a port"),
    ("port = 5_672", "[broker] port = 5_672 is not a port"),
    ("port = \u0665\u0666", "[broker] port = \u0665\u0666 is not a port"),
    ("port = 5672 # default", "[broker] port = 5672 # default is not a port"),
    (f"port = {'9' * 5000}", f"[broker] port = {'9' * 79}… is not a port"),
    ("heartbeat = 65536", "heartbeat = 65536 is not a number of seconds; give a whole number from 0 to 65535."),
    ("max_queue_length = 0", "is not a number of messages; give a whole number from 1 to 1000000000."),
    ("host = amqp:/x", "is not a host; give names or IP addresses, separated by commas, each with :PORT or"),
    ("host = localhost:0", "[broker] host = localhost:0 is not a host"),
    ("host = localhost:65536", "is not a host"),
    ("host = a,", "is not a host"),
    ("host = a b", "is not a host"),
    ("host = [::1", "is not a host"),
    ("host = [a]", "is not a host"),
    ("tls = maybe", "[broker] tls = maybe is not an answer; give yes or no."),
    ("login = EXTERNAL", "[broker] login = EXTERNAL is not a way to log in; give one of certificate, password."),
    ("queue_type = stream", "[broker] queue_type = stream is not a type of queues; give one of classic, quorum."),
    ("connect_timeout = 0", "is not a number of seconds; give a whole number from 1 to 600."),
    ("ca_file = ca.pem", "[broker] ca_file has no use without TLS; give tls = yes, or remove it."),
    ("verify = no", "[broker] verify = no has no use without TLS; give tls = yes, or remove it."),
    ("tls = yes\nkey_file = x", "[broker] key_file has no use without cert_file; give both."),
    ("tls = yes\nlogin = certificate", "[broker] login = certificate needs one; give cert_file, and key_file."),
    (
        "tls = yes\nlogin = certificate\ncert_file = x\nusername = y",
        "[broker] username has no use where login = certificate; remove one of the two.",
    ),
    ("password = x\npassword_file = y", "[broker] gives both password and password_file; keep one of the two."),
    ("password_file = no/where", "[broker] password_file: the file does not exist; create it, or name another file."),
    ("password_file = .", " cannot be read: Is a directory; give a file that this user may read."),
    ("host = a..b", "is not a host"),
    ("virtual_host = a://b", "[broker] virtual_host = (not shown) is not a virtual host; give a name such as /."),
    ("url = http://a", "[broker] url = (not shown) is not a URL of a broker; give amqp://USER:PASSWORD@HOST:PORT/"),
    ("url = amqp://a/", "is not a URL of a broker"),
    ("url = amqp://", "is not a URL of a broker"),
    ("url = amqp://:b@c", "is not a URL of a broker"),
    ("url = amqp://a%2@b", "is not a URL of a broker"),
    ("url = amqp://a%0A@b", "is not a URL of a broker"),
    ("url = amqp://a%ff@b", "is not a URL of a broker"),
    ("url = amqp://a:0", "is not a URL of a broker"),
    ("url = amqp://a/b?heartbeat=1", "is not a URL of a broker"),
    ("url = amqp://a\nhost = b", "[broker] gives both url and host; keep one of the two."),
    ("url = amqp://a\nhost = amqp://b", "[broker] gives both url and host; keep one of the two."),
    ("url = amqp://a:b@c\npassword = d", "[broker] gives both url and password; keep one of the two."),
    ("url = amqp://a:b@c\npassword_file = d", "[broker] gives both password and password_file; keep one of the two."),
    ("url = amqp://a\ntls = yes", "[broker] gives both url and tls; keep one of the two."),
    ("url = amqp://a/b\nvirtual_host = b", "[broker] gives both url and virtual_host; keep one of the two."),
    ("host = bröker", "is not a host"),
    ("host =", "is not a host"),
    ("username =", "[broker] username = (nothing) is not a user name; give one that the broker knows."),
    (f"virtual_host = {'ä' * 128}", "is not a virtual host; give a name such as /."),
    ("pasword = x", "[broker] has no key pasword (meant password?); correct it, or take it out."),
    ("zzz = x", "line 2 is no key of [broker]; it has host, url, port"),
    ("port = 1\nport = 2", "line 3 gives a key of [broker] a second time; keep one of the two."),
    ("[broker]", "line 2 gives [broker] a second time; keep one of the two."),
    ("port", "line 2 is neither [section], nor key = value, nor # comment."),
    ("port = 1\n  2", "[broker] port spans several lines, or holds an invisible character; write it on"),
    ("host = a\u200bb", "[broker] host spans several lines, or holds an invisible character"),
    ("[DEFAULT]\nport = 1", "has no section [DEFAULT]; it has [broker]."),
    ("[Broker]", "has no section [Broker] (meant broker?); it has [broker]."),
]
SIMULATION_ERRORS = [
    ("nb_meter = 0", "[meter] nb_meter = 0 is not a number of meters; give a whole number from 1 to 100000."),
    ("model = sunny", "[meter] model = sunny is not a model; give one of household, random, replay."),
    ("[pv]\nmodel = sunny", "[pv] model = sunny is not a model; give one of clear-sky, random, replay, weather."),
    ("seed = 9223372036854775808", f"is not a seed; {INT64}"),
    ("seed = 1.5", f"is not a seed; {INT64}"),
    ("interval = 0", INTERVAL),
    ("interval = 0.0005", INTERVAL),
    ("interval = 86400.001", INTERVAL),
    ("interval = -1", INTERVAL),
    ("interval = 1,5", INTERVAL),
    ("interval = 1e3", INTERVAL),
    ("interval = .", INTERVAL),
    ("interval = nan", INTERVAL),
    ("backlog = -1", "is not a backlog; give seconds, 0 or more, or nothing for no limit."),
    ("linger = 3601", "is not a time to gather readings; give seconds from 0 to 3600, whole milliseconds."),
    ("batch = 10001", "is not a number of readings; give a whole number from 1 to 10000."),
    (
        "fault_dropout = 1%",
        "[meter] fault_dropout = 1% is not a fault; give 1% of 60 (a chance for each 60 s), 5 of 60 (the",
    ),
    ("fault_dropout = 0% of 60", "is not a fault"),
    ("fault_dropout = 100.1% of 60", "is not a fault"),
    ("fault_dropout = 1% of 0", "is not a fault"),
    ("fault_dropout = 61 of 60", "is not a fault"),
    ("fault_dropout = 5 in 1% of 60", "is not a fault"),
    ("fault_dropout = always", "is not a fault"),
    ("fault_dropout = ..", "is not a fault"),
    ("fault_dropout = 2026-06-21..2026-06-22", "is not a fault"),
    ("fault_dropout = 20260621..20260622", "is not a fault"),
    ("fault_dropout = 2026-06-22T00:00Z..2026-06-22T00:00Z", "is not a fault"),
    ("fault_dropout = 1..2 3", "is not a fault"),
    ("fault_spike_w = 1% of 60", "is not a fault; give W, more than 0 and at most 1000000000, then in, then 1% of 60"),
    ("fault_spike_w = 0 in 1% of 60", "is not a fault; give W, more than 0"),
    ("fault_spike_w = -5 in 1% of 60", "is not a fault; give W, more than 0"),
    ("fault_spike_w = 5000", "is not a fault; give W, more than 0"),
    ("fault_offset_w = 1000000001 in 1% of 60", "is not a fault; give W, at most 1000000000, with a - for less,"),
    ("fault_late_s = 86401 in 1% of 60", "is not a fault; give seconds, more than 0 and at most 86400, then in, then"),
    ("fault_shuffle = 1.5 in 1% of 60", "is not a fault; give a whole number of readings from 1 to 100, then in"),
    ("fault_clock = 1 in 1% of 60", "[meter] has no key fault_clock (meant fault_clock_s?)"),
    ("[pv]\nfault_stuck = 1% of 60", "line 3 is no key of [pv]; it has model,"),
    ("[pv]\ntime_window = 0", "is not a window of time; give seconds, more than 0, or nothing for any time."),
    ("[pv]\ntime_window = -60", "is not a window of time"),
    ("[pv]\ntime_window = 1 day", "is not a window of time"),
    ("time_window = 60", "line 2 is no key of [meter]; it has nb_meter,"),
    ("[pv]\npeak_kw =", KW),
    ("[pv]\npeak_kw = nan", KW),
    ("[pv]\npeak_kw = 0", KW),
    ("[pv]\npeak_kw = 1000000.000001", KW),
    ("[pv]\npeak_kw = 0.0000001", KW),
    ("model = household\nannual_kwh = 0", "is not a year's energy; give kWh from 500 to 10000, or two"),
    ("model = household\nannual_kwh = 6000..1500", "is not a year's energy; give kWh from 500 to 10000, or two"),
    ("model = household\nholidays = FR", "is not holidays; give DE, none, or dates such as 2026-12-25"),
    ("model = household\nholidays = 2026-02-30", "is not holidays; give DE, none, or dates such as 2026-12-25"),
    ("model = household\ntemperature = 1 2 3", "is not a temperature; give degrees Celsius from -60 to 50, or twelve"),
    ("model = household\nfuse_kw = 0", "is not a power; give kW from 1 to 1000."),
    ("model = household\ntimezone =", "is not a time zone that this machine knows; give a name such as Europe/Berlin."),
    ("model = household\ntimezone = Mars/Base", "is not a time zone that this machine knows; give a name such"),
    ("annual_kwh = 900", "[meter] annual_kwh is no key of the model random, which has no keys of its own; give"),
    ("[meter a]\ntilt = 1", "line 3 is no key of [meter a]; it has nb_meter, model, seed,"),
    ("model = replay", "[meter] has no file, which the model replay needs; give the name of a CSV file."),
    (
        "model = replay\nfile = x\nunit = MVA",
        "[meter] unit = MVA is not a unit; give one of MW, MWh, MWh total, W,",
    ),
    ("model = replay\nfile = x\nshift = --1", "is not a time; give seconds, with a - for earlier."),
    ("model = replay\nfile = x\nscale = -1", "is not a factor; give a number from 0 to 1000, with at most 6 decimals."),
    ("model = replay\nfile = x\nscale = 1000.1", "is not a factor"),
    ("model = replay\nfile = x\nspread = -1", "is not a time; give seconds, 0 or more."),
    (
        "model = replay\nfile = x\nloop = x",
        "is not a time; give seconds, 0 or more, day, week, year, or nothing",
    ),
    (
        "model = replay\nfile = x\ntimezone = UTC",
        "[meter] timezone is no key of the model replay, which has file, column,",
    ),
    ("[pv]\nmodel = weather\nlosses = 100", "losses = 100 is not a loss; give percent from 0 to 99."),
    ("[pv]\nmodel = weather\nlatitude = -90.1", "is not a latitude; give degrees north from -90 to 90."),
    ("[pv]\nmodel = weather\nlatitude = 1e1", "is not a latitude"),
    ("[pv]\nmodel = weather\nlatitude = --1", "is not a latitude"),
    (
        "[pv]\nmodel = weather\nturbidity = 3 3",
        "is not a turbidity; give a number from 1 to 10, or twelve of them with",
    ),
    ("[pv]\nmodel = weather\nturbidity =", "is not a turbidity"),
    (
        "[pv]\nmodel = weather\ninverter_kw = 0",
        "is not a power; give kW, more than 0 and at most 1000000, with at most",
    ),
    ("[pv]\ntimezone = Mars/Base", "[pv] timezone = Mars/Base is not a time zone that this machine knows; give a"),
    ("[pv]\ntimezone = ../../etc/passwd", "is not a time zone"),
    ("[pv]\ntimezone = Europe", "is not a time zone"),
    ("[metre]", "has no section [metre] (meant meter?); it has [meter], [pv], [meter ID], [pv ID]."),
    ("[metre Meter_1]", "has no section [metre Meter_1]"),
    ("[broker]", "has no section [broker]; it has [meter], [pv], [meter ID], [pv ID]."),
    ("[ meter ]", "has no section [ meter ] (meant meter?)"),
    ("[meter a/b]", "[meter a/b]: 'a/b' is no meter id; use letters"),
    ("[meter a..b]", "[meter a..b]: 'a..b' is no range of meter ids; write it as"),
    ("[meter a]\nnb_meter = 2", "[meter a] cannot have nb_meter; it is the same for all; set it in [meter]."),
    ("[pv a]\ntimezone = UTC", "[pv a] cannot have timezone; it is the same for all; set it in [pv]."),
    ("[meter a]\nsed = 2", "[meter a] has no key sed (meant seed?)"),
    ("[meter a..1]", "[meter a..1]: "),
    (
        "[meter a_1..3]\nseed = 1\n[meter b a_3]\nseed = 2",
        "[meter a_1..3] and [meter b a_3] give a_3 different values of seed; keep one of them.",
    ),
]


@pytest.mark.parametrize("text,sentence", BROKER_ERRORS)
def test_broker_errors(text: str, sentence: str, write: Write) -> None:
    """What is wrong in broker.ini is told with file, section, key, value and what would be right."""
    path = write(f"[broker]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        config.load_broker(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)
    assert caught.value.exit_status == 78


@pytest.mark.parametrize("text,sentence", SIMULATION_ERRORS)
def test_simulation_errors(text: str, sentence: str, write: Write) -> None:
    """What is wrong in simulation.ini is told in the same way."""
    path = write(f"[meter]\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        simulation(path)
    assert str(caught.value).startswith(str(path))
    assert sentence in str(caught.value)


def test_key_outside_a_section(write: Write) -> None:
    """A key before any section is a sentence with its line."""
    with pytest.raises(ConfigError, match=r"line 2 stands before any \[section\]; move it into one\."):
        config.load_broker(write("# where the broker is\nport = 1\n[broker]\n"))


# Options


@pytest.mark.parametrize(
    "text,value", [("1", 10**9), ("0.001", 10**6), ("86400", 86400 * 10**9), ("2.500", 25 * 10**8)]
)
def test_interval_option(text: str, value: int) -> None:
    """--interval takes seconds and gives nanoseconds."""
    assert config.parse_interval(text) == value


@pytest.mark.parametrize("text,value", [("1", 1), ("0", 1), ("-7", 1), ("100000", 100_000)])
def test_nb_meter_option(text: str, value: int) -> None:
    """--nb-meter of 0 or less means 1."""
    assert config.parse_nb_meter(text) == value


def test_options_in_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong option is argparse's message, with what would be right, and status 2; to others it is a ConfigError."""
    parser = argparse.ArgumentParser(prog="x")
    config.add_options(parser)
    parser.add_argument("--interval", type=config.parse_interval)
    given = parser.parse_args(["-conf", "a", "--simulation-file", "b", "--interval", "3"])
    assert vars(given) == {"configuration_file": Path("a"), "simulation_file": Path("b"), "interval": 3 * 10**9}
    with pytest.raises(SystemExit, match="2"):
        parser.parse_args(["--interval", "0"])
    assert f"x: error: argument --interval: 0 {INTERVAL}" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"many is not a number of meters; give a whole number from 1 to 100000\."):
        config.parse_nb_meter("many")


# The files as installed


def shown(name: str) -> dict[str, dict[str, str]]:
    """The keys that a file shows commented out, by section; sections may be commented out themselves."""
    sections: dict[str, dict[str, str]] = {}
    for line in (SHIPPED / name).read_text().splitlines():
        if header := re.fullmatch(r"#?\[(.+)\]", line):
            keys = sections.setdefault(header[1], {})
        elif key := re.fullmatch(r"#(\w+) =(?: (.*))?", line):
            assert key[1] not in keys
            keys[key[1]] = key[2] or ""
    return sections


@pytest.mark.parametrize("name,sections", [("broker.ini", ["broker"]), ("simulation.ini", ["meter", "pv"])])
def test_shipped_files_show_every_key(name: str, sections: list[str]) -> None:
    """The installed files show each key, commented out, with its default."""
    for section in sections:
        assert shown(name)[section] == {key.name: key.default for key in TABLES[section].values()}


MODELS = {"meter": loads.MODELS, "pv": solar.MODELS}


def chosen(text: str, model_of: dict[str, str]) -> str:
    """The text of simulation.ini with these models, and with the # taken away from the keys that they have."""
    lines, section = [], ""
    for line in text.splitlines():
        if header := re.fullmatch(r"#?\[(.+)\]", line):
            section = header[1]
        if header and section in model_of:
            line += f"\nmodel = {model_of[section]}"
        elif key := re.fullmatch(r"#(\w+) =.*", line):
            has = MODELS[section][model_of[section]].keys if section in model_of else ()
            wanted = section in TABLES and key[1] in TABLES[section] and TABLES[section][key[1]].field in has
            line = line[1:] if wanted else line
            line = "file = profile.csv" if line == "file =" else line
        lines.append(line)
    return "\n".join(lines)


def test_shipped_files_are_the_defaults(write: Write) -> None:
    """They mean the defaults, as they are, and so do the tables."""
    path = write((SHIPPED / "broker.ini").read_text())
    assert config.load_broker(path) == BrokerSettings(source=str(path))
    path = write(re.sub(r"^#(?=\S)", "", path.read_text(), flags=re.MULTILINE))
    assert config.load_broker(path) == BrokerSettings(source=str(path))
    path = write((SHIPPED / "simulation.ini").read_text())
    assert simulation(path) == Simulation(source=str(path))


@pytest.mark.parametrize("section,model", [(section, model) for section, each in MODELS.items() for model in each])
def test_shipped_values_of_models(section: str, model: str, write: Write) -> None:
    """Of each model, the file shows all keys with their defaults."""
    text = (SHIPPED / "simulation.ini").read_text()
    found = simulation(write(chosen(text, {section: model})))
    file = "file = profile.csv\n" if model == "replay" else ""
    bare = simulation(write(f"[{section}]\nmodel = {model}\n{file}"))
    assert (found.every_meter, found.every_pv) == (bare.every_meter, bare.every_pv)
    every = bare.every_meter if section == "meter" else bare.every_pv
    assert list(every.parameters) == list(MODELS[section][model].keys)


def test_shipped_examples(write: Write) -> None:
    """What it shows for some ids can be used, too."""
    lines = (SHIPPED / "simulation.ini").read_text().splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"#\[\w+ \w", line)]
    examples = []
    for start in starts:
        for line in lines[start:]:
            if not re.match(r"#\S", line):
                break
            examples.append(line[1:])
    found = simulation(write("\n".join(dict.fromkeys(examples))))
    assert "Meter_7" in found.meters
    assert "Meter_7" in found.pvs


# Keys of models


def test_keys_of_models(write: Write) -> None:
    """A section for some ids may give another model or some of its keys; the rest comes from the section of all."""
    found = simulation(
        write(
            "[pv]\nmodel = weather\ntilt = 10\npeak_kw = 5\nturbidity = 3\n"
            "[pv a_0..9]\nazimuth = 90\n[pv a_3]\nseed = 3\n[pv b]\nmodel = clear-sky\ntilt = -0\n"
        )
    )
    assert found.pv("x").parameters == found.every_pv.parameters
    assert found.pv("x").parameters["turbidity"] == (3.0,)
    assert (found.pv("a_1").model, found.pv("b").model) == ("weather", "clear-sky")
    assert [found.pv("a_1").parameters[key] for key in ("tilt", "azimuth", "peak_kw")] == [10, 90, 5]
    assert [found.pv("b").parameters[key] for key in ("tilt", "azimuth", "peak_kw")] == [0, 180, 5]


FOREIGN = [
    (
        "[pv]\nmodel = random\ntilt = 30",
        "[pv] tilt is no key of the model random, which has peak_kw;"
        " give model = clear-sky or weather, or take tilt away.",
    ),
    ("[pv]\ntilt = 30", "[pv] tilt is no key of the model random"),
    ("[pv]\nmodel = weather\n[pv a]\nmodel = random\ntilt = 30", "[pv a] tilt is no key of the model random"),
    ("[pv a]\ntilt = 30", "[pv a] tilt is no key of the model random"),
    ("[pv a b]\ntilt = 30\n[pv a]\nmodel = weather", "[pv a b] tilt is no key of the model random"),
    ("[pv a b]\ntilt = 30\n[pv b]\nmodel = weather", "[pv a b] tilt is no key of the model random"),
]


@pytest.mark.parametrize("text,told", FOREIGN)
def test_key_of_another_model(text: str, told: str, write: Write) -> None:
    """A key that the chosen model does not have is not ignored: it is a sentence with section, model and mend."""
    with pytest.raises(ConfigError) as caught:
        simulation(write(text))
    assert told in str(caught.value)


# Faults

MINUTES = Periods(60 * 10**9, 60 * 10**9, 10**6)
FAULTS = [
    ("fault_dropout = 1% of 60", "dropout", Fault(MINUTES)),
    ("fault_stuck = 0.000001 % of 0.001", "stuck", Fault(Periods(10**6, 10**6, 1))),
    ("fault_duplicate = 100% of 86400", "duplicate", Fault(Periods(86_400 * 10**9, 86_400 * 10**9, 10**8))),
    ("fault_rubbish = 0.5 of 60", "rubbish", Fault(Periods(60 * 10**9, 5 * 10**8, 10**8))),
    ("fault_spike_w = 0.5 in 1% of 60", "spike", Fault(MINUTES, 500)),
    ("fault_offset_w = -20 in 1% of 60", "offset", Fault(MINUTES, -20_000)),
    ("fault_drift_percent = 2.5 in 1% of 60", "drift", Fault(MINUTES, 2_500_000)),
    ("fault_noise_w = 3 in 1% of 60", "noise", Fault(MINUTES, 3000)),
    ("fault_clock_s = -1.5 in 1% of 60", "clock", Fault(MINUTES, -1_500_000_000)),
    ("fault_late_s = 30 in 1% of 60", "late", Fault(MINUTES, 30 * 10**9)),
    ("fault_shuffle = 4 in 1% of 60", "shuffle", Fault(MINUTES, 4)),
    (
        "fault_late_s = 1 in 1782043200..1782043201.5  2026-06-22T00:00+02:00..2026-06-21T22:00:01Z",
        "late",
        Fault(
            ((1_782_043_200 * 10**9, 1_782_043_201_500_000_000), (1_782_079_200 * 10**9, 1_782_079_201 * 10**9)), 10**9
        ),
    ),
]


@pytest.mark.parametrize("text,kind,fault", FAULTS)
def test_faults(text: str, kind: str, fault: Fault, write: Write) -> None:
    """Each kind of fault reaches its meter, with times and size; a meter may be without one that others have."""
    name = text.split(" ")[0]
    found = simulation(write(f"[meter]\n{text}\n[meter good]\n{name} =\n[meter other]\nseed = 2\n"))
    assert found.meter("any").faults == found.meter("other").faults == {kind: fault}
    assert found.meter("good").faults == {}


# Anything at all

NAMES = [name for table in TABLES.values() for name in table]
SECTIONS = ["broker", "meter", "pv", "meter a", "pv a_0..3", "meter ..", "DEFAULT"]
LINES = st.one_of(
    st.sampled_from(SECTIONS).map("[{}]".format),
    st.builds("{}{}{}".format, st.sampled_from(NAMES), st.sampled_from([" = ", ":", "\n  "]), st.text(max_size=12)),
    st.builds(
        "{} = {}".format, st.sampled_from(NAMES), st.from_regex(r"[-+]?[0-9]{0,25}\.?[0-9]{0,12}", fullmatch=True)
    ),
    st.text(max_size=30),
)


@settings(examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(st.binary(max_size=80), st.lists(LINES, max_size=8).map(lambda lines: "\n".join(lines).encode()))
)
@example(content=b"[pv]\ntimezone = /etc/passwd\n")
@example(content=b"[pv]\ntimezone = a\0b\n")
@example(content=b"[broker]\n= x\n")
@example(content=b"[ ]\n[]\n")
def test_any_bytes(content: bytes, write: Write) -> None:
    """Whatever a file holds, it gives settings or a ConfigError on one line that ends like a sentence."""
    path = write(content)
    for load in (config.load_broker, simulation):
        said = sentence(load, path)
        assert said.isprintable()
        assert said.endswith(".")


def sentence(load: Callable[[Path], object], path: Path) -> str:
    try:
        load(path)
    except ConfigError as error:
        return str(error)
    return "Settings."
