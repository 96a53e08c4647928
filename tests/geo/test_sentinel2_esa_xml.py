"""ESA's XML: levels, times, offsets by band; and every real file of the shared folder."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from sentinel2_products import _product_xml, tile_metadata_xml

from geo.errors import SceneError
from geo.file_tree import FolderFileTree
from geo.sentinel2.formats.esa_xml import product_metadata, tile_metadata
from geo.sentinel2.formats.product_names import (
    baseline_in,
    is_modern,
    parse_datatake,
    parse_product_name,
    platform_of,
    relative_orbit,
    tile_in,
)
from geo.sentinel2.formats.safe import aws_metadata

WHEN = dt.datetime(2023, 10, 5, 2, 10, 1, tzinfo=dt.UTC)
XML = Path("MTD_MSIL2A.xml")


def xml(**changes: object) -> bytes:
    values: dict[str, object] = {
        "name": "S2B_MSIL2A_20231005T021001_N0509_R003_T52TFN_20231005T061601.SAFE",
        "level": "L2A",
        "baseline": "05.09",
        "platform": "S2B",
        "when": WHEN,
        "generated": WHEN + dt.timedelta(hours=4),
        "relative_orbit": 3,
        "orbit": 34_000,
        "granule": "L2A_T52TFN_A034000_20231005T021401",
        "files": [],
        "offsets": dict.fromkeys(("B02", "B03", "B04", "B08"), -1000.0),
        "quantification": 10_000.0,
        "doctype": "",
    }
    return _product_xml(**(values | changes)).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["L1C", "L2A"])
def test_what_a_product_is(level: str) -> None:
    found = product_metadata(xml(level=level), XML)
    assert (found.level, found.platform, found.relative_orbit, found.baseline) == (
        level,
        "Sentinel-2B",
        3,
        "05.09",
    )
    assert found.start == WHEN  # to the second: the XML has 24 milliseconds more
    assert found.quantification == 10_000
    assert found.generated is not None
    assert found.generated.tzinfo is not None


def test_an_offset_a_band() -> None:
    offsets = {"B02": -1000.0, "B03": -1100.0, "B04": -900.0, "B08": -1200.0, "B8A": -1000.0, "B11": -950.0}
    assert product_metadata(xml(offsets=offsets), XML).offsets == offsets


def test_band_ids_mean_what_the_xml_itself_says() -> None:
    text = xml(offsets={"B02": -1000.0, "B03": -800.0}).decode()
    swapped = text.replace('bandId="1" physicalBand="B2"', 'bandId="2" physicalBand="B2"', 1)
    swapped = swapped.replace('bandId="2" physicalBand="B3"', 'bandId="1" physicalBand="B3"', 1)
    assert product_metadata(swapped.encode(), XML).offsets == {"B03": -1000.0, "B02": -800.0}


def test_band_ids_without_a_list_of_bands() -> None:
    head, _, tail = (
        xml(offsets={"B02": -1000.0, "B8A": -1000.0, "B11": -1000.0})
        .decode()
        .partition("<Spectral_Information_List>")
    )
    text = head + tail.partition("</Spectral_Information_List>")[2]
    assert sorted(product_metadata(text.encode(), XML).offsets) == ["B02", "B11", "B8A"]


def test_no_list_of_offsets_is_none() -> None:
    assert product_metadata(xml(offsets={}, baseline="02.14"), XML).offsets == {}


@pytest.mark.parametrize("offset", [-7000.0, -2500.0, 1000.0])
def test_an_offset_that_no_baseline_has_is_refused(offset: float) -> None:
    with pytest.raises(SceneError, match=f"offset {offset:g} for band B03"):
        product_metadata(xml(offsets={"B02": -1000.0, "B03": offset}), XML)


def test_entities_are_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>\n'
    with pytest.raises(SceneError, match="entities"):
        product_metadata(xml(doctype=bomb), XML)
    outside = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>\n'
    with pytest.raises(SceneError, match="entities"):
        product_metadata(xml(doctype=outside), XML)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "well-formed"),
        (b"<a><b></a>", "well-formed"),
        (b"\xff\xfe\x00", "well-formed"),
        (b"<kml/>", "isn't the XML of a Sentinel-2 product"),
        (xml().replace(b"BOA_QUANTIFICATION_VALUE", b"X"), "divided by"),
        (xml(quantification=1.0), "divides its numbers by 1,"),
        (
            xml(name="x").replace(b"DATATAKE_SENSING_START", b"X").replace(b"PRODUCT_START_TIME", b"Y")
            .replace(b"datatakeIdentifier", b"z"),
            "when it was sensed",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_understood_is_said(content: bytes, fault: str) -> None:
    with pytest.raises(SceneError, match=fault):
        product_metadata(content, XML)


def test_a_tile() -> None:
    text = tile_metadata_xml(
        level="L2A",
        tile_id="S2A_OPER_MSI_L2A_TL_2APS_20231005T061601_A043273_T52TFN_N05.09",
        seen=WHEN,
        crs=32652,
        transform=__import__("affine").Affine(10, 0, 6e5, 0, -10, 47e5),
        shape=(10, 10),
        sun=(41.5, 161.0),
    )
    found = tile_metadata(text.encode(), Path("MTD_TL.xml"))
    assert (found.baseline, found.sun_elevation_deg, found.sun_azimuth_deg) == ("05.09", 41.5, 161.0)
    assert found.seen == WHEN.replace(microsecond=24_000)
    with pytest.raises(SceneError, match="tile"):
        tile_metadata(xml(), Path("MTD_TL.xml"))


def test_names() -> None:
    new = parse_product_name("x/S2C_MSIL1C_20250719T180004_N0511_R141_T13TDE_20250719T213000.SAFE")
    assert new is not None
    assert (new.platform, new.level, new.baseline, new.relative_orbit, new.tile) == (
        "Sentinel-2C", "L1C", "05.11", 141, "13TDE",
    )  # fmt: skip
    bare = parse_product_name("S2A_MSIL2A_20190101T000001_R116_T59VNE_20201007T214705")
    assert bare is not None
    assert bare.baseline is None
    old = parse_product_name("S2A_OPER_PRD_MSIL1C_PDMC_20160318T145513_R008_V20160318T031532_20160318T031532")
    assert old is not None
    assert (old.relative_orbit, old.tile, old.start.isoformat()) == (8, None, "2016-03-18T03:15:32+00:00")
    assert parse_product_name("S2A_MSIL2A_20191301T000001_R116_T59VNE_20201007T214705") is None
    assert parse_product_name("LC08_L1TP") is None
    assert platform_of("sentinel-2b") == platform_of("S2B") == platform_of("Sentinel-2B") == "Sentinel-2B"
    assert platform_of("Sentinel 2") == platform_of("") == "Sentinel-2"
    assert tile_in("L1C_T52TFN_A026481_20200717T221944") == "52TFN"
    assert tile_in("TILE_52TFN") is None
    assert baseline_in("S2A_OPER_MSI_L1C_TL_SGS__20181231T203637_A018414_T10SDG_N02.07") == "02.07"


@pytest.mark.parametrize(
    ("datatake", "orbit"),
    [  # pairs as real products have them
        ("GS2A_20231008T175231_043324_N05.09", 141),
        ("GS2A_20190101T000001_018417_N02.12", 116),
        ("GS2B_20250731T131909_043879_N05.11", 95),
        ("GS2B_20210122T133229_020270_N02.14", 81),
        ("GS2C_20250719T180004_004000_N05.11", None),
    ],
)
def test_datatakes(datatake: str, orbit: int | None) -> None:
    found = parse_datatake(datatake)
    assert found is not None
    assert found.relative_orbit == orbit
    assert parse_datatake("GS2A_20231308T175231_043324_N05.09") is None


def test_relative_orbits_run_from_1_to_143() -> None:
    assert {relative_orbit("Sentinel-2B", orbit) for orbit in range(1000, 1143)} == set(range(1, 144))


def test_which_baselines_add_1000() -> None:
    assert [is_modern(one) for one in ("02.14", "03.01", "04.00", "05.11", "99.99")] == [
        False, False, True, True, True,
    ]  # fmt: skip


# What each real file has, read off the files by eye.
SAFES = {
    "S2A_MSIL1C_20200717T221941_R029_T01LAC_20200717T234135.SAFE": ("L1C", "02.09", None),
    "S2A_MSIL1C_20210908T042701_N0301_R133_T46RER_20210908T070248.SAFE": ("L1C", "03.01", None),
    "S2A_MSIL2A_20150826T185436_N0212_R070_T11SLT_20210412T023147": ("L2A", "02.12", None),
    "S2A_MSIL2A_20180721T053721_N0212_R062_T43MDV_20201011T181419.SAFE": ("L2A", "02.12", None),
    "S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857.SAFE": ("L2A", "02.12", None),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.SAFE": ("L2A", "05.09", -1000),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022158.SAFE": ("L2A", "05.09", -1000),
    "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCS_20230626T022157.SAFE": ("L2A", "05.09", -1000),
    "S2A_MSIL2A_20230821T221941_N0509_R029_T01KAB_20230822T021825.SAFE": ("L2A", "05.09", -1000),
    "S2B_MSIL2A_20191228T210519_N0212_R071_T01CCV_20201003T104658.SAFE": ("L2A", "02.12", None),
    "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126.SAFE": ("L2A", "04.00", -1000),
    "esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.SAFE": ("L2A", "02.14", None),
}
AWS = {
    "S2A_OPER_MSI_L1C_TL_SGS__20181231T203637_A018414_T10SDG": ("L1C", "02.07", 0),
    "S2A_OPER_MSI_L2A_DS_2APS_20230105T201055_S20230105T163809": ("L2A", "05.09", -1000),
    "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL": ("L2A", "05.10", -1000),
    "S2A_OPER_MSI_L2A_TL_SGS__20181231T210250_A018414_T10SDG": ("L2A", "02.11", 0),
    "S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBP": ("L2A", "04.00", -1000),
    "S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBQ": None,
    "S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBQ-no-tileDataGeometry": None,
    "S2A_OPER_MSI_L2A_TL_VGS1_20220401T110010_A035382_T34LBQ-no-tileDataGeometry-no-product-metadata": (
        "L2A", "04.00", -1000,
    ),
    "S2A_T60CWS_20240109T203651_L2A": ("L2A", "05.10", -1000),
    "S2B_MSIL2A_20200914T231559_N0500_R087_T01VCG_20230315T224658": ("L2A", "05.00", -1000),
    "S2B_OPER_MSI_L2A_DS_VGS1_20201101T095401_S20201101T074429-no-data": ("L2A", "02.14", 0),
}  # fmt: skip


def test_every_real_product(real_imagery: Path) -> None:
    folder = real_imagery / "sentinel2" / "safe_metadata"
    assert {one.name for one in folder.iterdir()} == SAFES.keys() | AWS.keys()
    for name, (level, baseline, offset) in SAFES.items():
        (path,) = [one for one in (folder / name).iterdir() if one.name.lower().startswith("mtd_msi")]
        found = product_metadata(path.read_bytes(), path)
        named = parse_product_name(found.name)
        assert named is not None
        assert (found.level, found.baseline, found.quantification) == (level, baseline, 10_000), name
        assert set(found.offsets.values()) == ({offset} if offset is not None else set()), name
        assert len(found.offsets) == (13 if offset is not None else 0)
        assert (found.start, found.relative_orbit, found.platform) == (
            named.start,
            named.relative_orbit,
            named.platform,
        )
        for tile in (folder / name).rglob("MTD_TL.xml"):
            sun = tile_metadata(tile.read_bytes(), tile)
            assert sun.baseline == baseline or sun.level == "L1C"
            # A tile with hardly any data has NaN for the sun.
            empty = name.endswith("T01WCP_20230626T022158.SAFE")
            assert (sun.sun_elevation_deg is None) == (sun.sun_azimuth_deg is None) == empty
            assert empty or 0 < (sun.sun_elevation_deg or 0) < 90


def test_every_real_folder_on_aws_pattern(real_imagery: Path) -> None:
    folder = real_imagery / "sentinel2" / "safe_metadata"
    for name, expected in AWS.items():
        tree = FolderFileTree(folder / name)
        if expected is None:
            # -7000 would take 0.7 off every reflectance: no baseline has it.
            with pytest.raises(SceneError, match="offset -7000"):
                aws_metadata(tree, "")
            continue
        found, tile_id, _ = aws_metadata(tree, "")
        assert (found.level, found.baseline) == expected[:2], name
        assert set(found.offsets.values()) == {expected[2]}, name
        assert tile_in(tile_id) is not None
        assert found.relative_orbit is not None
