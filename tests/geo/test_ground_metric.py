from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS

from geo import GroundMetric, SceneError

NOWHERE = Path("image.tif")
MERCATOR_PX_M = 156_543.033928  # of zoom 0, at the equator


def metric(crs: str, transform: Affine) -> GroundMetric:
    return GroundMetric(NOWHERE, CRS.from_user_input(crs), transform, (0.0, 0.0))


def mercator_tile(latitude: float, zoom: int) -> GroundMetric:
    x, y = Transformer.from_crs(4326, 3857, always_xy=True).transform(130.61, latitude)
    size = MERCATOR_PX_M / 2**zoom
    return metric("EPSG:3857", Affine(size, 0, x, 0, -size, y))


@pytest.mark.parametrize(("zoom", "gsd_m"), [(17, 0.88), (18, 0.44), (19, 0.22)])
def test_web_mercator_at_tumangang(zoom: int, gsd_m: float) -> None:
    x, y = mercator_tile(42.42, zoom).gsd_xy_at((0, 0))
    assert x == pytest.approx(gsd_m, rel=0.01)
    assert y == pytest.approx(gsd_m, rel=0.01)


@given(latitude=st.floats(-70, 70))
def test_web_mercator_follows_the_cosine_of_latitude(latitude: float) -> None:
    x, y = mercator_tile(latitude, 18).gsd_xy_at((0, 0))
    spherical = MERCATOR_PX_M / 2**18 * np.cos(np.radians(latitude))
    # The ellipsoid is up to 0.7 % off the sphere.
    assert x == pytest.approx(spherical, rel=7e-3)
    assert y == pytest.approx(spherical, rel=7e-3)


def test_degrees_have_pixels_that_are_not_square() -> None:
    x, y = metric("EPSG:4326", Affine(4.5e-6, 0, 130.6, 0, -4.5e-6, 42.42)).gsd_xy_at((50, 50))
    assert x == pytest.approx(4.5e-6 * 82_305, rel=1e-3)  # metres in a degree at 42.42 north
    assert y == pytest.approx(4.5e-6 * 111_081, rel=1e-3)


def test_utm_is_a_map_too() -> None:
    # Halfway between the central meridian (0.9996) and the zone's edge (1.0001).
    centre, _ = metric("EPSG:32652", Affine(0.5, 0, 500_000, 0, -0.5, 4_698_000)).gsd_xy_at((0, 0))
    assert centre == pytest.approx(0.5 / 0.9996, rel=1e-6)


def test_feet_are_not_metres() -> None:
    # California zone 5 in US survey feet.
    feet, _ = metric("EPSG:2229", Affine(1, 0, 6_500_000, 0, -1, 1_900_000)).gsd_xy_at((0, 0))
    assert feet == pytest.approx(0.3048, rel=1e-3)


transforms = st.builds(
    lambda angle, size, flip: (
        Affine.translation(632_000, 4_698_000)
        @ Affine.rotation(angle)
        @ Affine.scale(size, size if flip else -size)
    ),
    st.floats(0, 360),
    st.floats(0.1, 10),
    st.booleans(),
)


@given(transform=transforms, x=st.floats(-500, 500), y=st.floats(-500, 500))
def test_derivatives_predict_geodesics(transform: Affine, x: float, y: float) -> None:
    ground = metric("EPSG:32652", transform)
    jacobian = ground.jacobian([[x, y]])[0]
    step = np.array([30.0, -17.0])
    ends = np.array([transform @ (x, y), transform @ (x + step[0], y + step[1])])
    lon, lat = Transformer.from_crs(32652, 4326, always_xy=True).transform(ends[:, 0], ends[:, 1])
    _, _, distance = Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])
    right, up = jacobian @ step
    assert np.hypot(right, up) == pytest.approx(distance, rel=1e-5)
    # Clockwise from grid north: the direction on the map itself, since UTM is conformal.
    east, north = ends[1] - ends[0]
    assert np.degrees(np.arctan2(right, up) - np.arctan2(east, north)) % 360 == pytest.approx(
        0, abs=1e-3
    ) or (np.degrees(np.arctan2(right, up) - np.arctan2(east, north)) % 360) == pytest.approx(360, abs=1e-3)


def test_without_position_the_upper_side_is_north() -> None:
    ground = GroundMetric(NOWHERE, None, Affine.identity(), (0.5, 0.25))
    assert ground.jacobian([[3, 4], [9, 9]]).tolist() == [[[0.5, 0], [0, -0.25]]] * 2
    assert ground.gsd_xy_at((0, 0)) == (0.5, 0.25)


@pytest.mark.parametrize("crs", [None, "EPSG:32652"])
def test_no_places_are_no_trouble(crs: str | None) -> None:
    ground = GroundMetric(
        NOWHERE, crs and CRS.from_user_input(crs), Affine(0.5, 0, 6e5, 0, -0.5, 4e6), (1, 1)
    )
    assert ground.jacobian(np.empty((0, 2))).shape == (0, 2, 2)


def test_beyond_the_map_is_an_error_that_names_the_file() -> None:
    with pytest.raises(SceneError, match=r"^image\.tif: .*outside the domain"):
        metric("EPSG:32652", Affine(0.5, 0, 1e13, 0, -0.5, 1e13)).gsd_xy_at((0, 0))
    with pytest.raises(SceneError, match=r"^image\.tif: .*outside the domain"):
        metric("EPSG:4326", Affine(1e-5, 0, 42.4, 0, -1e-5, 130.6)).gsd_xy_at((0, 0))  # swapped axes


def test_a_local_grid_is_nowhere_on_earth() -> None:
    local = 'LOCAL_CS["site grid",UNIT["metre",1],AXIS["x",EAST],AXIS["y",NORTH]]'
    with pytest.raises(SceneError, match=r"^image\.tif: .*no known place on Earth"):
        GroundMetric(NOWHERE, CRS.from_wkt(local), Affine(1, 0, 0, 0, -1, 0), (0, 0)).gsd_xy_at((0, 0))
