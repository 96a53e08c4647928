from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from making import observation
from yards import Yard

from aoi.io import area_document, write_document
from railwatch.errors import ConfigError, StoreError
from railwatch.history import RANK as ALL_RANKS
from railwatch.history import Verdict, Word, compare
from railwatch.pipeline.alerts import RANK, STATE, Alert, send_alerts, split_command
from railwatch.store.store import Store

SCRIPT = """\
import json, os, pathlib, sys
folder = pathlib.Path(sys.argv[1])
status = int((folder / "status").read_text()) if (folder / "status").exists() else 0
print("a word on the way out", file=sys.stderr)
if status == 0:
    with (folder / "told").open("a") as out:
        said = {name: os.environ[name] for name in os.environ if name.startswith("RAILWATCH_")}
        out.write(json.dumps({"stdin": json.load(sys.stdin), "env": said, "args": sys.argv[2:]}) + "\\n")
sys.exit(status)
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir()
    (tmp_path / "tell.py").write_text(SCRIPT)
    return tmp_path / "store"


def command(store: Path, *words: str) -> str:
    return " ".join(
        f'"{word}"' for word in (sys.executable, str(store.parent / "tell.py"), str(store.parent), *words)
    )


def told(store: Path) -> list[dict[str, Any]]:
    path = store.parent / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def fail_with(store: Path, status: int) -> None:
    (store.parent / "status").write_text(str(status))


def verdicts(*words: Word, aoi: str = "yard") -> list[Verdict]:
    """Real verdicts on successive days, with the words that the test wants."""
    observations = [
        observation(7 * number, aoi=aoi, count=10.0, count_low=9.0, count_high=12.0) for number in range(10)
    ]
    days = [
        observation(120 + number, aoi=aoi, count=30.0, count_low=28.0, count_high=33.0)
        for number in range(len(words))
    ]
    ids = {one.id for one in days}
    found = [one for one in compare([*observations, *days]) if one.record.id in ids]
    return [replace(one, verdict=word) for one, word in zip(found, words, strict=True)]


def test_the_words_that_are_alerted_are_those_from_elevated_up() -> None:
    assert dict(RANK) == {word: rank for word, rank in ALL_RANKS.items() if rank >= ALL_RANKS["elevated"]}


def test_an_elevated_verdict_is_told_once(store: Path) -> None:
    given = verdicts("typical", "elevated", "low", "cannot say", "unprecedented")
    alerts = send_alerts(given, command(store, "two words"), store)
    assert [(one.verdict, one.sent, one.exit_status) for one in alerts] == [
        ("elevated", True, 0),
        ("unprecedented", True, 0),
    ]
    assert [one["stdin"] for one in told(store)] == [given[1].to_json(), given[4].to_json()]
    first = told(store)[0]
    assert first["args"] == ["two words"]
    assert first["env"]["RAILWATCH_AOI"] == "yard"
    assert first["env"]["RAILWATCH_DATE"] == given[1].record.day.isoformat()
    assert first["env"]["RAILWATCH_VERDICT"] == "elevated"
    assert first["env"]["RAILWATCH_COUNT"] == "30"
    assert first["env"]["RAILWATCH_SENTENCE"] == given[1].sentence
    assert first["env"]["RAILWATCH_STORE"] == str(store.absolute())
    assert send_alerts(given, command(store), store) == []
    assert len(told(store)) == 2


def test_a_higher_verdict_is_told_again_and_a_lower_one_isnt(store: Path) -> None:
    for word, number in (
        ("elevated", 1),
        ("typical", 1),
        ("elevated", 1),
        ("unprecedented", 2),
        ("elevated", 2),
        ("unprecedented", 2),
    ):
        send_alerts(verdicts(word), command(store), store)  # type: ignore[arg-type]
        assert len(told(store)) == number


def test_areas_are_told_apart_and_observations_of_a_day_are_not(store: Path) -> None:
    send_alerts(verdicts("elevated"), command(store), store)
    send_alerts(verdicts("elevated", aoi="other"), command(store), store)
    assert [one["env"]["RAILWATCH_AOI"] for one in told(store)] == ["yard", "other"]
    (one,) = verdicts("elevated", aoi="third")
    record = replace(one.record, id="another", when=one.record.when.replace(hour=1))
    send_alerts([replace(one, record=record), replace(one, verdict="unprecedented")], command(store), store)
    assert [one["env"]["RAILWATCH_VERDICT"] for one in told(store)[2:]] == ["unprecedented"]


def test_a_failed_alert_is_told_and_tried_again(store: Path) -> None:
    given = verdicts("elevated")
    fail_with(store, 3)
    (alert,) = send_alerts(given, command(store), store)
    assert (alert.sent, alert.exit_status) == (False, 3)
    assert "exit status 3: a word on the way out" in alert.sentence
    assert "tried again at the next run" in alert.sentence
    fail_with(store, 0)
    # the next run is about other scenes altogether
    (alert,) = send_alerts([], command(store), store)
    assert alert.sent
    assert [one["stdin"] for one in told(store)] == [given[0].to_json()]
    assert send_alerts([], command(store), store) == []


def test_what_is_no_longer_so_is_not_told_late(store: Path) -> None:
    fail_with(store, 1)
    send_alerts(verdicts("unprecedented"), command(store), store)
    fail_with(store, 0)
    assert send_alerts(verdicts("typical"), command(store), store) == []
    assert send_alerts([], command(store), store) == []


def test_a_command_that_hangs_is_ended_with_all_it_started(store: Path) -> None:
    script = store.parent / "hang.sh"
    script.write_text(f"#!/bin/sh\nsleep 60 &\necho $! > {store.parent}/child\nsleep 60\n")
    script.chmod(0o755)
    begun = time.monotonic()
    (alert,) = send_alerts(verdicts("elevated"), f"'{script}'", store, timeout_s=2.0)
    assert time.monotonic() - begun < 30
    assert not alert.sent
    assert "longer than 2 s" in alert.sentence
    child = int((store.parent / "child").read_text())
    for _ in range(100):
        if not Path(f"/proc/{child}").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
        time.sleep(0.05)
    else:
        os.kill(child, 9)
        pytest.fail("the command's own child is still there")


def test_a_command_that_reads_nothing_and_leaves_a_child_is_well(store: Path) -> None:
    (alert,) = send_alerts(verdicts("elevated"), "sh -c 'sleep 3 & exit 0'", store, timeout_s=30)
    assert alert.sent


def test_a_missing_command_is_a_failed_alert(store: Path) -> None:
    (alert,) = send_alerts(verdicts("elevated"), "no-such-program-here", store)
    assert alert == Alert("yard", alert.day, "elevated", False, None, alert.reason)
    assert "No such file" in alert.sentence


def test_no_shell_reads_the_command(store: Path) -> None:
    send_alerts(verdicts("elevated"), command(store, "$HOME; touch x", "*"), store)
    assert told(store)[0]["args"] == ["$HOME; touch x", "*"]


def test_nothing_to_tell_writes_nothing(store: Path) -> None:
    assert send_alerts(verdicts("typical", "low"), command(store), store) == []
    assert list(store.iterdir()) == []


@pytest.mark.parametrize("text", ["", "   ", "''", 'mail "half'])
def test_commands_that_cant_be_read(store: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="alert command"):
        split_command(text)
    with pytest.raises(ConfigError):
        send_alerts([], text, store)


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "isn't JSON"), ("[]", "didn't write it"), ('{"version": 9, "sent": {}, "waiting": {}}', "newer")],
)
def test_a_damaged_record_stops_rather_than_floods(store: Path, content: str, message: str) -> None:
    (store / STATE).write_text(content)
    with pytest.raises(StoreError, match=message):
        send_alerts(verdicts("elevated"), command(store), store)
    assert told(store) == []


def test_an_alert_of_a_killed_run_is_not_lost(store: Path) -> None:
    """The second command dies with the run: the first isn't repeated, the second is."""
    given = verdicts("elevated", "elevated")
    first, second = (one.record.day.isoformat() for one in given)
    killer = store.parent / "kill.py"
    killer.write_text(
        "import os, sys, pathlib\n"
        f"out = pathlib.Path({str(store.parent)!r}) / 'order'\n"
        "with out.open('a') as stream: stream.write(os.environ['RAILWATCH_DATE'] + '\\n')\n"
        f"if os.environ['RAILWATCH_DATE'] == {second!r} and len(out.read_text().split()) == 2:\n"
        "    os.kill(os.getppid(), 9)\n"
    )
    line = f'"{sys.executable}" "{killer}"'
    child = os.fork()
    if child == 0:
        send_alerts(given, line, store)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    send_alerts(given, line, store)
    assert (store.parent / "order").read_text().split() == [first, second, second]


def test_run_alerts_and_goes_on_when_the_command_fails(
    store: Path, railwatch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yards import BrightDetector

    from railwatch.pipeline import run as pipeline

    monkeypatch.setattr(pipeline, "_load", lambda config: BrightDetector())
    yard, folder = Yard(), store.parent
    history = Store.open(store)
    for number in range(12):
        history.add(observation(number * 7, count=5.0, count_low=4.0, count_high=7.0))
    yard.write(folder / "scenes" / "20240305_021500.tif", (18, 18, 18), 50)
    write_document(area_document(yard.area()), folder / "yard.geojson")
    common = ("run", folder / "scenes", "--aoi", folder / "yard.geojson", "--store", store)
    fail_with(store, 7)
    outcome = railwatch(*common, "--alert-command", command(store), "--json")
    assert outcome.code == 0
    (alert,) = json.loads(outcome.out)["alerts"]
    assert (alert["verdict"], alert["exit_status"]) == ("unprecedented", 7)
    fail_with(store, 0)
    outcome = railwatch(*common, "--alert-command", command(store))
    assert outcome.code == 0
    assert "alerted: yard, 2024-03-05, unprecedented" in outcome.out
    assert "alerted" not in railwatch(*common, "--alert-command", command(store)).out
    outcome = railwatch(*common, "--alert-command", "mail 'half")
    assert outcome.code == 2
    assert "alert command" in outcome.error
