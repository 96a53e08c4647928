"""The settings file: what it accepts, what it refuses and in which words, and what its digests cover."""

from __future__ import annotations

import dataclasses
import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from railwatch.config import (
    BaselineSettings,
    DetectorSettings,
    RunConfig,
    SceneSettings,
    config_names,
    load_config,
    reference,
)
from railwatch.errors import ConfigError


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str, name: str = "run.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(path: Path) -> str:
    """The message with which a file is refused; one sentence that names the file."""
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_nothing_given_is_the_default_run():
    assert load_config() == RunConfig()
    assert load_config().detector == DetectorSettings()


def test_an_empty_file_is_the_default_run(write):
    assert load_config(write("")) == RunConfig()


def test_every_value_lands_in_its_field(write, tmp_path):
    config = load_config(
        write(
            """
            title = "Yard"
            aoi = "tumangang"
            store = "kept/here"
            [scenes]
            gsd_m = 1
            bands = [3, 2, 1]
            sensor = "SkySat"
            min_valid_fraction = 0.25
            [detector]
            threshold = 0.4
            careful = true
            device = "cpu"
            tile_px = 512
            batch_size = 8
            weights = "w.safetensors"
            [baseline]
            lookback_years = 3.5
            gap_days = 0
            not_before = 2015-01-31
            min_looks = 7
            use_published = false
            """
        )
    )
    assert config.title == "Yard"
    assert config.aoi == "tumangang"
    assert config.store == str(tmp_path / "kept/here")
    assert config.scenes == SceneSettings(1.0, (3, 2, 1), "SkySat", 0.25)
    assert type(config.scenes.gsd_m) is float
    assert config.detector == DetectorSettings(
        str(tmp_path / "w.safetensors"), 0.4, True, "cpu", "auto", 512, 8
    )
    assert config.baseline == BaselineSettings(3.5, 0.0, date(2015, 1, 31), 7.0, False)


def test_a_relative_area_file_is_found_beside_the_settings(write, tmp_path, monkeypatch):
    (tmp_path / "yard.geojson").write_text("{}")
    path = write('aoi = "yard.geojson"')
    monkeypatch.chdir(tmp_path.parent)
    assert load_config(path).aoi == str(tmp_path / "yard.geojson")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[detector]\ntile = 3",
            "unknown key detector.tile (did you mean tile_px? All keys of [detector] are: "
            "weights, threshold, careful, device, backend, tile_px, batch_size)",
        ),
        (
            "stroe = 'x'",
            "unknown key stroe (did you mean store? All keys at the top level are: "
            "title, aoi, store, scenes, detector, occupancy, baseline, chart)",
        ),
        ("[zzz]", "unknown key zzz (the keys at the top level are: "),
        ("detector = 3", "detector must be a table ([detector]), not 3"),
        ("[detector]\ntile_px = 'big'", 'detector.tile_px must be a whole number, not the text "big"'),
        ("[detector]\ntile_px = 512.0", "detector.tile_px must be a whole number, not 512.0"),
        ("[detector]\ntile_px = true", "detector.tile_px must be a whole number, not true"),
        ("[detector]\ntile_px = 12", "detector.tile_px must be between 128 and 8192, not 12"),
        ("[detector]\ntile_px = 200", "detector.tile_px must be a multiple of 32, not 200"),
        ("[detector]\nthreshold = nan", "detector.threshold must be a number, not nan"),
        ("[detector]\nthreshold = 1.5", "detector.threshold must be between 0.01 and 0.99, not 1.5"),
        (
            "[detector]\ndevice = 'tpu'",
            'detector.device must be one of "auto", "cpu", "cuda", not the text "tpu"',
        ),
        ("[detector]\ndevice = ['cpu']", 'detector.device must be one of "auto", "cpu", "cuda", not a list'),
        ("[scenes]\nbands = 3", "scenes.bands must be a list, each member a whole number, not 3"),
        (
            "[scenes]\nbands = []",
            "scenes.bands must be a list, each member a whole number, not an empty list",
        ),
        ("[scenes]\nbands = [0]", "scenes.bands must be 1 or more, not 0"),
        ("[scenes]\nbands = [1, 'red']", 'scenes.bands must be a whole number, not the text "red"'),
        ("[baseline]\nuse_published = 1", "baseline.use_published must be true or false, not 1"),
        (
            "[baseline]\nnot_before = '2020'",
            'baseline.not_before must be a day (2023-10-05), not the text "2020"',
        ),
        (
            "[baseline]\nnot_before = 2020-01-01T00:00:00Z",
            "baseline.not_before must be a day (2023-10-05), not ",
        ),
        ("title = 2023-10-05", "title must be text in quotes, not 2023-10-05"),
        ("title = {a = 1}", "title must be text in quotes, not a table"),
        ("title = ", "not a valid TOML file: "),
    ],
)
def test_what_is_not_allowed_is_refused_in_one_sentence(write, text, message):
    assert refusal(write(text)).startswith(message)


def test_a_missing_file_names_the_bundled_ones(tmp_path):
    assert "no such settings file" in refusal(tmp_path / "none.toml")
    with pytest.raises(
        ConfigError, match=r"tumangan: no such settings file .*: planetscope, sentinel2, tumangang, vhr"
    ):
        load_config("tumangan")


def test_files_that_are_not_text_or_not_files_are_refused(tmp_path):
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    assert refusal(binary) == "not a TOML file: it isn't text in UTF-8"
    assert refusal(tmp_path) == "is a folder, not a file"


def test_bundled_settings_load_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert config_names() == ["planetscope", "sentinel2", "tumangang", "vhr"]
    loaded = {name: load_config(name) for name in config_names()}
    assert loaded["tumangang"].aoi == "tumangang"
    # the comparison that the published analysis made
    assert loaded["tumangang"].baseline.lookback_years == 5
    assert loaded["tumangang"].baseline.use_published
    assert loaded["vhr"].aoi is None
    assert not loaded["vhr"].baseline.use_published
    assert loaded["sentinel2"].baseline.min_looks > RunConfig().baseline.min_looks


def test_a_bundled_file_is_a_start_for_ones_own(write, repository):
    assert load_config(write((repository / "configs" / "vhr.toml").read_text())) == load_config("vhr")


def test_options_win_and_none_leaves_a_setting_alone():
    config = load_config("tumangang")
    changed = config.override(store=Path("s"), aoi=None, detector__device="cpu", scenes__bands=(1, 2, 3))
    assert (changed.store, changed.aoi) == ("s", "tumangang")
    assert changed.detector == dataclasses.replace(config.detector, device="cpu")
    assert changed.scenes.bands == (1, 2, 3)
    assert changed.source == config.source
    assert config.override() == config


def test_options_are_checked_like_a_file():
    with pytest.raises(
        ConfigError, match=r"^options: detector\.tile_px must be between 128 and 8192, not 1$"
    ):
        RunConfig().override(detector__tile_px=1)
    with pytest.raises(ConfigError, match=r"^options: unknown key detector\.x "):
        RunConfig().override(detector__x=1)


def test_the_baseline_settings_are_those_of_the_comparison():
    from railwatch.history.settings import VerdictSettings

    assert RunConfig().baseline.verdict_settings() == VerdictSettings()
    config = RunConfig().override(baseline__gap_days=3.0, baseline__not_before=date(2020, 1, 1))
    assert config.baseline.verdict_settings() == VerdictSettings(gap_days=3.0, not_before=date(2020, 1, 1))
    shared = {each.name for each in dataclasses.fields(VerdictSettings)}
    assert {each.name for each in dataclasses.fields(BaselineSettings)} - shared == {"use_published"}


def test_the_digest_follows_results_only():
    config = RunConfig()
    same = config.override(
        title="t",
        store="s",
        detector__device="cpu",
        detector__batch_size=9,
        detector__weights="w",
        chart__dpi=99,
    )
    assert same.counting_digest == config.counting_digest
    assert config.override(baseline__gap_days=1.0).counting_digest == config.counting_digest
    assert config.override(detector__threshold=0.9).counting_digest != config.counting_digest
    assert config.override(detector__careful=True).counting_digest != config.counting_digest
    # A change of this value makes every stored observation's settings look different: mean it.
    assert config.counting_digest == "eb7342a6adfa68c38499588b961c54c9541569ff669efcc4960b5c2cf850566d"


@given(
    gap=st.floats(0, 3650),
    bands=st.lists(st.integers(1, 99), min_size=1, max_size=4),
    tile=st.integers(4, 256).map(lambda n: 32 * n),
    text=st.text(st.characters(codec="utf-8", categories=("L", "N", "Z"))),
)
def test_settings_survive_the_way_through_a_file(tmp_path_factory, gap, bands, tile, text):

    path = tmp_path_factory.mktemp("toml") / "a.toml"
    path.write_text(
        f"title = {json.dumps(text, ensure_ascii=False)}\n[scenes]\nbands = {bands}\n"
        f"[baseline]\ngap_days = {gap!r}\n[detector]\ntile_px = {tile}\n",
        encoding="utf-8",
    )
    config = load_config(path)
    assert (config.title, config.scenes.bands, config.baseline.gap_days, config.detector.tile_px) == (
        text,
        tuple(bands),
        gap,
        tile,
    )


def test_the_reference_page_is_that_of_the_code(repository):
    page = (repository / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference(), "run: python -m railwatch.config > docs/configuration.md"
