"""Run a user's command when a verdict is elevated or higher: once a date, not at every run.

What was alerted is kept in ``alerts.json`` in the store. An area and date are alerted again only when the
word gets higher. A command that fails is tried again at the next run, whichever scenes that one is given.

The file is written after each command that succeeded. A kill between the two repeats one alert; it never
loses one. A lock keeps two runs on one store from sending the same alert twice.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock

from aoi.files import write_bytes
from aoi.gdal import outer_environment
from railwatch.errors import ConfigError, StoreError
from railwatch.store.observation import iso

if TYPE_CHECKING:
    from railwatch.history import Verdict

__all__ = ["RANK", "STATE", "TIMEOUT_S", "Alert", "send_alerts", "split_command"]

log = logging.getLogger(__name__)

STATE = "alerts.json"
"""Name of the file in the store."""

TIMEOUT_S = 60.0
"""How long a command may take, seconds, if nothing else is said."""

RANK: Mapping[str, int] = {"elevated": 2, "unprecedented": 3}
"""The words that are alerted, in their order."""

_VERSION = 1
_LOCK_PATIENCE_S = 300
_SHOWN_OUTPUT = 300


@dataclass(frozen=True)
class Alert:
    """One run of the command.

    Attributes:
        aoi: Name of the area.
        day: Date of the verdict, ISO.
        verdict: Its word.
        sent: Whether the command ended well.
        exit_status: Of the command; None when it couldn't be started or was ended.
        reason: What went wrong, if it did.
    """

    aoi: str
    day: str
    verdict: str
    sent: bool
    exit_status: int | None = None
    reason: str | None = None

    @property
    def sentence(self) -> str:
        """The alert in a line."""
        what = f"{self.aoi}, {self.day}, {self.verdict}"
        if self.sent:
            return f"alerted: {what}"
        return f"the alert command failed for {what}: {self.reason}; it is tried again at the next run"

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return {
            "aoi": self.aoi,
            "date": self.day,
            "verdict": self.verdict,
            "sent": self.sent,
            "exit_status": self.exit_status,
            "reason": self.reason,
        }


def split_command(text: str) -> tuple[str, ...]:
    """Split a command line into its words, as a POSIX shell would; no shell runs it.

    Raises:
        ConfigError: If there is no word in it, or a quotation mark is left open.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ConfigError(f"the alert command {text!r} can't be read: {str(error).lower()}") from error
    if not words or not words[0]:
        raise ConfigError("the alert command is empty")
    return words


def send_alerts(
    verdicts: Iterable[Verdict], command: str, store: Path, *, timeout_s: float = TIMEOUT_S
) -> list[Alert]:
    """Run the command for each area and date whose verdict asks for it, with the verdict on stdin.

    The command gets the verdict's JSON (that of ``railwatch compare --json``) as one line on stdin, and in
    its environment ``RAILWATCH_AOI``, ``RAILWATCH_DATE``, ``RAILWATCH_VERDICT``, ``RAILWATCH_COUNT``,
    ``RAILWATCH_CONFIRMED`` (``yes``, ``no`` or empty), ``RAILWATCH_SENTENCE`` and ``RAILWATCH_STORE``.
    What it writes is not shown; the end of it is part of the reason when it fails.

    Args:
        verdicts: Of a run, in any order.
        command: A command line; see `split_command`.
        store: The store's folder.
        timeout_s: After so many seconds the command and what it started are ended.

    Returns:
        What was run, in order of time: nothing for dates alerted before.

    Raises:
        ConfigError: If the command can't be read.
        StoreError: If the record of what was alerted can't be read or written.
    """
    words = split_command(command)
    now = [one.to_json() for one in verdicts]
    if not store.is_dir() or (not any(_rank(one) for one in now) and not (store / STATE).exists()):
        return []
    alerts = []
    with _locked(store):
        state = _State.read(store / STATE)
        for document in _due(now, state):
            alert = _run(words, document, store, timeout_s)
            log.info("%s", alert.sentence)
            state.note(document, alert)
            state.write()
            alerts.append(alert)
        if state.changed:
            state.write()
    return alerts


def _rank(document: Mapping[str, Any]) -> int:
    """The rank of a verdict's word; 0 for one that isn't alerted."""
    return RANK.get(str(document.get("verdict")), 0)


def _key(document: Mapping[str, Any]) -> str:
    return f"{document['aoi']} {str(document['datetime'])[:10]}"


def _due(now: list[dict[str, Any]], state: _State) -> list[dict[str, Any]]:
    """The verdicts to alert: the highest of each area and date, those that failed before included."""
    highest: dict[str, dict[str, Any]] = {}
    for document in now:
        key = _key(document)
        if key not in highest or _rank(document) > _rank(highest[key]):
            highest[key] = document
    for key, document in list(state.waiting.items()):
        if key not in highest:
            highest[key] = document
        elif not _rank(highest[key]):
            state.drop(key)  # what was to be told isn't so any more
    due = [one for key, one in highest.items() if _rank(one) > state.alerted(key)]
    return sorted(due, key=lambda one: (str(one["datetime"]), str(one["aoi"])))


@dataclass
class _State:
    """What was alerted, and what is still to be.

    Attributes:
        path: The file.
        sent: By area and date: the highest word alerted, and when.
        waiting: By area and date: the verdict whose command failed.
        changed: Whether it differs from the file.
    """

    path: Path
    sent: dict[str, dict[str, str]]
    waiting: dict[str, dict[str, Any]]
    changed: bool = False

    @classmethod
    def read(cls, path: Path) -> _State:
        """Read the file; one that isn't there is empty."""
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return cls(path, {}, {})
        except OSError as error:
            raise StoreError(f"{path}: can't be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise StoreError(
                f"{path}: isn't JSON, so it doesn't tell what was alerted; delete it to alert anew"
            ) from error
        version = content.get("version") if isinstance(content, dict) else None
        if not isinstance(version, int) or not all(
            isinstance(content.get(name), dict) for name in ("sent", "waiting")
        ):
            raise StoreError(f"{path}: railwatch didn't write it; delete it to alert anew")
        if version > _VERSION:
            raise StoreError(f"{path}: was written by a newer railwatch (format {version}, known {_VERSION})")
        whole = all(
            isinstance(one, dict) and all(isinstance(one.get(key), str) for key in keys)
            for name, keys in (("sent", ("verdict", "at")), ("waiting", ("aoi", "datetime", "verdict")))
            for one in content[name].values()
        )
        if not whole:
            raise StoreError(
                f"{path}: is damaged, so it doesn't tell what was alerted; delete it to alert anew"
            )
        return cls(path, content["sent"], content["waiting"])

    def alerted(self, key: str) -> int:
        """Return the rank of the highest word that was alerted; 0 for none."""
        return RANK.get(str(self.sent.get(key, {}).get("verdict")), 0)

    def note(self, document: dict[str, Any], alert: Alert) -> None:
        """Take in how a command ended."""
        key = _key(document)
        if alert.sent:
            self.sent[key] = {"verdict": alert.verdict, "at": iso(datetime.now(UTC))}
            self.waiting.pop(key, None)
        else:
            self.waiting[key] = document
        self.changed = True

    def drop(self, key: str) -> None:
        """Forget a verdict that waits."""
        del self.waiting[key]
        self.changed = True

    def write(self) -> None:
        """Write the file anew."""
        content = {"version": _VERSION, "sent": self.sent, "waiting": self.waiting}
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            write_bytes(self.path, text.encode())
        except OSError as error:
            raise StoreError(f"{self.path}: can't be written ({error.strerror})") from error
        self.changed = False


def _run(words: tuple[str, ...], document: Mapping[str, Any], store: Path, timeout_s: float) -> Alert:
    """Run the command for one verdict."""
    said = (str(document["aoi"]), str(document["datetime"])[:10], str(document["verdict"]))
    line = json.dumps(document, ensure_ascii=False, allow_nan=False) + "\n"
    # Into a file and not a pipe: what the command leaves running would hold a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**outer_environment(), **_environment(document, store)},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            return Alert(*said, False, None, f"{words[0]}: {getattr(error, 'strerror', None) or error}")
        try:
            process.communicate(line.encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
            return Alert(*said, False, None, f"it took longer than {timeout_s:g} s and was ended")
        except BaseException:
            _end(process)
            raise
        if process.returncode == 0:
            return Alert(*said, True, 0)
        output.seek(max(0, output.seek(0, os.SEEK_END) - _SHOWN_OUTPUT))
        tail = " ".join(output.read().decode(errors="replace").split())
    status = process.returncode
    ended = f"ended by signal {-status}" if status < 0 else f"exit status {status}"
    return Alert(*said, False, status, f"{ended}: {tail}" if tail else ended)


def _environment(document: Mapping[str, Any], store: Path) -> dict[str, str]:
    count, confirmed = document.get("count"), document.get("confirmed")
    return {
        "RAILWATCH_AOI": str(document["aoi"]),
        "RAILWATCH_DATE": str(document["datetime"])[:10],
        "RAILWATCH_VERDICT": str(document["verdict"]),
        "RAILWATCH_COUNT": "" if count is None else f"{count:g}",
        "RAILWATCH_CONFIRMED": "" if confirmed is None else ("yes" if confirmed else "no"),
        "RAILWATCH_SENTENCE": str(document.get("sentence", "")),
        "RAILWATCH_STORE": str(store.absolute()),
    }


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    with suppress(OSError):
        if os.name == "nt":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    lock = filelock.FileLock(store / ".alerts.lock", timeout=_LOCK_PATIENCE_S)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise StoreError(f"{store}: another run has been sending alerts for {_LOCK_PATIENCE_S} s") from error
    except (NotImplementedError, OSError) as error:
        # Some network file systems have no locks; an alert sent twice is better than none.
        log.warning("%s: alerts are sent without a lock: %s", store, error)
    try:
        yield
    finally:
        lock.release()
