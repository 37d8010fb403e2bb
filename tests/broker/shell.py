"""Questions and commands to a running node that `rabbitmqctl` takes a second for, answered at once, and exactly.

`rabbitmqctl` starts an Erlang VM each time, and its `list_queues` may be five seconds old. Here one VM a node, beside
the server, evaluates what it is given inside the server, and runs the commands of `rabbitmqctl`; it ends when we do.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from weakref import WeakKeyDictionary

from pvsim.errors import PvsimError
from pvsim.tools.nest import Nest
from pvsim.tools.node import Node

_LOOP = """
Node = list_to_atom(os:getenv("PVSIM_NODE")),
Answer = fun(Line) ->
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, [Seconds | Expressions]} = erl_parse:parse_exprs(Tokens),
    {value, Timeout, _} = erl_eval:expr(Seconds, []),
    case rpc:call(Node, erl_eval, exprs, [Expressions, []], Timeout * 1000) of
        {value, Value, _} -> Value;
        {badrpc, _} = Bad -> Bad
    end
end,
Print = fun (Error, _, _) when element(1, Error) =:= error -> io:format("~0p", [Error]), 1;
            (Output, Command, Options) ->
    Formatter = 'Elixir.RabbitMQ.CLI.Core.Config':get_formatter(Command, Options),
    Printer = 'Elixir.RabbitMQ.CLI.Core.Config':get_printer(Command, Options),
    Formatted = 'Elixir.RabbitMQ.CLI.Core.Output':format_output(Output, Formatter, Options),
    'Elixir.RabbitMQ.CLI.Core.Output':print_output(Formatted, Printer, Options),
    0
end,
Run = fun(Line) ->
    {ok, _} = application:ensure_all_started(elixir),
    application:load(rabbitmqctl),
    {ok, Tokens, _} = erl_scan:string(Line),
    {ok, Arguments} = erl_parse:parse_term(Tokens),
    'Elixir.RabbitMQCtl':exec_command(Arguments, Print)
end,
Text = fun (eof) -> eof; (Line) -> unicode:characters_to_list(Line) end,
Loop = fun Loop() ->
    case Text(io:get_line("")) of
        eof -> halt(0);
        "ctl " ++ Arguments -> io:format("~n~s~0p~n", [os:getenv("PVSIM_END"), catch Run(Arguments)]), Loop();
        Line -> io:format("~0p~n", [catch Answer(Line)]), Loop()
    end
end,
Loop().
"""
_END = "== end of the command: "
_MESSAGES = """
case rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)) of
    {{ok, Queue}} ->
        case amqqueue:get_type(Queue) of
            rabbit_quorum_queue ->
                Total = fun(Query) -> ra:consistent_query(amqqueue:get_pid(Queue), Query, 5000) end,
                {{ok, Count, _}} =
                    try Total({{rabbit_fifo, query_messages_total, []}})
                    catch error:function_clause -> Total(fun rabbit_fifo:query_messages_total/1)
                    end,
                Count;
            _ ->
                proplists:get_value(messages, rabbit_amqqueue:info(Queue, [messages]))
        end;
    {{error, not_found}} -> 0
end
"""
# RabbitMQ may keep the Raft member of a queue that is deleted while it is declared: its name is of no use then.
_DELETE = """
[rabbit_amqqueue:delete(Queue, false, false, <<"tests">>) || Queue <- rabbit_amqqueue:list()],
[ra:force_delete_server(quorum_queues, {Name, node()}) || {Name, _} <- ra_directory:list_registered(quorum_queues)],
[] = rabbit_amqqueue:list()
"""
_AWAIT_QUIET = """
Wait = fun Wait() -> rabbit_channel:list() =:= [] orelse begin timer:sleep(20), Wait() end end,
Wait()
"""
# What `rabbitmqctl stop_app`, `force_reset` and `start_app` do.
_RESET = """
rabbit:stop(),
case code:ensure_loaded(rabbit_db) of
    {module, _} -> rabbit_db:force_reset();
    _ -> rabbit_mnesia:force_reset()
end,
rabbit:start()
"""


_QUIET = ["+S", "1", "+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]  # it uses no processor while it waits


@cache
def _commands(archive: Path) -> Nest:
    """A directory with the compiled modules of `rabbitmqctl`, which is a zip archive behind a line of text."""
    nest = Nest("pvsim-rabbitmqctl-")
    zipfile.ZipFile(archive).extractall(nest.directory)
    return nest


class _Shell:
    """One Erlang VM that asks one node."""

    def __init__(self, node: Node) -> None:
        name = f"shell-{node.port}@{node.host}"
        commands = _commands((node.directory / "home/escript/rabbitmqctl").resolve()).directory
        interface = f"{{{node.host.replace('.', ',')}}}"
        modules = sorted({str(path.parent) for path in commands.rglob("*.beam")})
        vm = ["erl", *_QUIET, "-boot", "start_clean", "-noshell", "-hidden", "-name", name, "-pa", *modules]
        like = "-extra", "rabbitmqctl"  # which its modules look at
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [*node.before, *vm, "-kernel", "inet_dist_use_interface", interface, "-eval", _LOOP, *like],
            cwd=node.directory,
            env={**node.environment, "ERL_LIBS": "home/plugins", "PVSIM_NODE": node.name, "PVSIM_END": _END},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            bufsize=1,
        )

    def __del__(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process.wait()

    def ask(self, expression: str, timeout_s: int) -> str:
        line = f"{timeout_s}, {' '.join(expression.split())}.\n"
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(line)
            return self._process.stdout.readline().rstrip("\n")

    def run(self, arguments: Sequence[str]) -> tuple[str, str]:
        """What a command of `rabbitmqctl` prints, and its exit status."""
        texts = ", ".join(f"<<{json.dumps(each, ensure_ascii=False)}/utf8>>" for each in arguments)
        printed = ""
        assert self._process.stdin
        assert self._process.stdout
        with self._lock:
            self._process.stdin.write(f"ctl [{texts}].\n")
            for line in self._process.stdout:
                if line.startswith(_END):
                    return printed.removesuffix("\n"), line.removeprefix(_END).rstrip("\n")
                printed += line
        return printed, "none: the shell has ended"


_shells: WeakKeyDictionary[Node, _Shell] = WeakKeyDictionary()
_starting = threading.Lock()


def _shell_of(node: Node) -> _Shell:
    with _starting:
        if node not in _shells:
            _shells[node] = _Shell(node)
            _await_startup(node)
        return _shells[node]


def _await_startup(node: Node) -> None:
    """It takes AMQP a moment before it takes commands."""
    _shells[node].run(["await_startup", "--longnames", "--timeout", "60", "--node", node.name])


def ask(node: Node, expression: str, timeout_s: int = 60) -> str:
    """What Erlang expressions, with commas between, come to in a node; PvsimError if it does not answer."""
    answer = _shell_of(node).ask(expression, timeout_s)
    if not answer or answer.startswith(("{badrpc,", "{'EXIT',")):
        raise PvsimError(f"{node.name} does not answer {expression!r}: {answer}")
    return answer


def ctl(node: Node, *arguments: str) -> str:
    """What `rabbitmqctl` prints; PvsimError with its own words if it fails."""
    command = [*arguments, "--quiet", "--longnames", "--node", node.name]
    printed, status = _shell_of(node).run(command)
    if "the 'rabbit' app to be running" in status:  # it was started again
        _await_startup(node)
        printed, status = _shell_of(node).run(command)
    if status != "0":
        raise PvsimError(f"rabbitmqctl {' '.join(arguments)} failed: {status}\n{printed}")
    return printed


def queues(node: Node) -> set[str]:
    """The names of all queues."""
    names = ask(node, "[binary_to_list(element(4, amqqueue:get_name(Queue))) || Queue <- rabbit_amqqueue:list()]")
    return set(names.strip("[]").replace('"', "").split(",")) - {""}


def held(node: Node, queue: str) -> int:
    """How many messages a queue holds, those that are delivered and not acknowledged too; 0 if there is none."""
    return int(ask(node, _MESSAGES.format(queue=queue)))


def delete_queues(node: Node) -> None:
    """Delete every queue, with what it holds."""
    ask(node, _DELETE)


def await_quiet(node: Node) -> None:
    """Wait until the broker has ended what it did for clients that are gone."""
    ask(node, _AWAIT_QUIET, timeout_s=20)


def add_user(node: Node, name: str, password: str, configure: str, write: str, read: str) -> None:
    """Make a user, with what it may do in the virtual host `/`."""
    ask(node, f'rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password}">>, <<"tests">>)')
    may = f'<<"/">>, <<"{configure}">>, <<"{write}">>, <<"{read}">>'
    ask(node, f'rabbit_auth_backend_internal:set_permissions(<<"{name}">>, {may}, <<"tests">>)')


def make_new(node: Node) -> None:
    """Whatever has happened to a node: it runs, and has nothing but what a new one has."""
    node.resume()
    if node.is_running:
        with suppress(PvsimError):
            if ask(node, _RESET, timeout_s=15) == "ok":
                return
    node.kill()
    shutil.rmtree(node.directory / "data", ignore_errors=True)
    node.start()
