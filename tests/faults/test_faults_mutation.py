"""Every reader's valid file, damaged in some fifty ways: read, or refused in one sentence that names it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from mutation import damaged
from valid_files import READERS, Reader

from aoi.errors import InputError

CASES = 48


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.name)
def test_a_damaged_file_is_read_or_refused_in_a_sentence(
    reader: Reader, tmp_path: Path, survived, recwarn: pytest.WarningsRecorder
) -> None:
    folder = tmp_path / "valid"
    folder.mkdir()
    path = reader.make(folder)
    reader.read(path)
    content = path.read_bytes()
    work = tmp_path / "damaged"
    for case in range(CASES):
        shutil.copytree(folder, work)
        target = work / path.relative_to(folder)
        target.write_bytes(
            damaged(content, random.Random(f"{reader.name} {case}").randrange(2**32), text=reader.text)
        )
        try:
            reader.read(target)
        except InputError as error:
            said = str(error)
            assert "\n" not in said.strip(), f"case {case}: {said!r}"
            assert str(work) in said or target.stem in said, f"case {case} names no file: {said!r}"
        except Exception as error:
            pytest.fail(f"case {case}: {type(error).__name__}: {error}", pytrace=True)
        survived()
        shutil.rmtree(work)
    recwarn.clear()
