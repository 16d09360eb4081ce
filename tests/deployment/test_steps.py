import io
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.console import Console
from deployment.steps import InstallError, Shell, Step, install

PATIENCE = 20


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(out: io.StringIO) -> Console:
    return Console(io.StringIO(), out)


def step(name: str, run, done=lambda: False) -> Step:  # type: ignore[no-untyped-def]
    return Step(name=name, done=done, run=run, cure=f"The cure of {name}.")


def run(steps: list[Step], console: Console, shell: Shell | None = None) -> list[str]:
    there: list[str] = []
    install(steps, console, shell or Shell(console), lambda one: there.append(one.name), lambda: None)
    return there


def test_steps_run_side_by_side(console: Console) -> None:
    both = threading.Barrier(2, timeout=PATIENCE)
    assert sorted(run([step("a", lambda _: both.wait()), step("b", lambda _: both.wait())], console)) == ["a", "b"]


def test_what_is_there_is_not_installed_again(console: Console, out: io.StringIO) -> None:
    def refuse(_: Shell) -> None:
        raise AssertionError

    assert run([step("a", refuse, done=lambda: True)], console) == ["a"]
    assert out.getvalue() == ""


def test_a_failed_step_says_its_last_lines_and_the_cure(console: Console) -> None:
    broken = step("a", lambda shell: shell.run([sys.executable, "-c", "print('the reason'); raise SystemExit(3)"]))
    with pytest.raises(InstallError, match=r"(?s)a could not be installed.*ended with 3.*the reason.*The cure of a"):
        run([broken], console)


def test_the_others_go_on_without_a_failed_step_that_is_not_needed(console: Console, out: io.StringIO) -> None:
    broken = step("a", lambda shell: shell.run([sys.executable, "-c", "raise SystemExit(3)"]))
    assert run([replace(broken, is_needed=False), step("b", lambda _: None)], console) == ["b"]
    assert "– a could not be installed, and is left out. The cure of a." in out.getvalue()


def test_a_failed_step_ends_the_others_and_their_children(console: Console, tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(600)"

    def fail(_: Shell) -> None:
        deadline = threading.Event()
        while not started.exists():
            deadline.wait(0.02)
        raise InstallError("broken")

    endless = step("endless", lambda shell: shell.run([sys.executable, "-c", code]))
    with pytest.raises(InstallError, match="broken"):
        run([endless, step("bad", fail)], console)


def test_an_interrupt_ends_what_runs(console: Console, tmp_path: Path) -> None:
    started = tmp_path / "started"
    code = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(600)"

    def interrupted() -> None:
        if started.exists():
            raise KeyboardInterrupt

    endless = step("endless", lambda shell: shell.run([sys.executable, "-c", code]))
    with pytest.raises(KeyboardInterrupt):
        install([endless], console, Shell(console), lambda _step: None, interrupted)


def test_nothing_begins_after_the_end(console: Console) -> None:
    shell = Shell(console)
    shell.end()
    with pytest.raises(InstallError, match="interrupted"):
        shell.run(["true"])
