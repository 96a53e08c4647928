"""The thresholds by which a date over an area is called clear."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClearSkyThresholds:
    """What is called cloud, shadow and snow, and how much of them a date may have.

    Reflectances run from 0 to 1. The thresholds follow from a plain model: cloud of opacity a lays
    a (0.6 - ground) on the ground, nearly the same in every band; shadow takes the same share of the light
    from every surface; moisture takes up to 42 % from soil and nothing from the near infrared of leaves.

    Attributes:
        min_clear_fraction: share of the area that must be usable.
        max_ring_cloud_fraction: share of the ring around the area that may be cloud: with cloud all around,
            thin edges and shadows lie over the area that nothing in its own pixels shows.
        max_ring_hidden_fraction: the same for cloud and shadow together.
        max_snow_fraction: share of area and ring that may be snow. A few white roofs are under 0.02.
        min_sun_elevation_deg: under it shadows are five times as long as things are high, and the
            atmospheric correction of L2A is outside its range.
        cloud_rise: rise of B02 - 0.5 B04 over the background, above that of the clearest fifth of the ring,
            from which a place is cloud. Soil and vegetation of any mixture and wetness keep that difference
            within about 0.02, so that harvest and green-up don't count; opacity 0.12 raises it by 0.035.
        cloud_rise_alone: the same over the scene's own lowest tenth, for dates without a background;
            opacity 0.2.
        spread_allowance: how much the spread of a restless place may raise `cloud_rise`, at most.
        lift: rise of both B02 and B03 that cloud must show as well; green-up lowers B03.
        haze_allowance: level of the veil over all of the ring, in B02 - 0.5 B04, that counts as haze and not
            as cloud, because gain and offset of the date take it out.
        rayleigh_allowance: the same where the veil has the colour of clear air (L1C among L2A): it hides
            nothing.
        max_haze: rise of B02 over all of the ring from which the date is refused.
        min_contrast: share of the background's contrast that must be left under a veil.
        cloud_piece_m2: a piece of cloud is at least so large. Smaller ones are new roofs and plastic sheets.
        cloud_piece_alone_m2: the same without a background: there the old roofs are in the way as well.
        shadow_edge: step of the logarithm of reflectance within 70 m, in every band, over ground that is even
            in the background: the edge of a cloud's shadow. Moisture changes gradually, or where the soil
            does.
        shadow_edge_m2: ground with such a step from which shadow is believed.
        shadow_border_share: share of a shadow's border on even ground that must have such a step.
        shadow_depth: share of the light that must be missing in every band where no edge is in sight. Wet
            soil loses 0.42 at most.
        shadow_piece_m2: a piece of shadow is at least so large.
        ndsi: (B03 - B11) / (B03 + B11) of snow (Hall et al. 1995; Sen2Cor and Fmask use it likewise).
        white_rise: rise of B02 over the background by which snow is seen without B11.
        saturated_reflectance: no surface sends so much; such pixels aren't used.
        buffer_m: distance from cloud that isn't used.
        apart_m: the ring begins so far from the area: the light of white wagons spreads into the pixels
            beside.
    """

    min_clear_fraction: float = 0.8
    max_ring_cloud_fraction: float = 0.25
    max_ring_hidden_fraction: float = 0.5
    max_snow_fraction: float = 0.1
    min_sun_elevation_deg: float = 12.0
    cloud_rise: float = 0.035
    cloud_rise_alone: float = 0.06
    spread_allowance: float = 0.005
    lift: float = 0.02
    haze_allowance: float = 0.03
    rayleigh_allowance: float = 0.08
    max_haze: float = 0.1
    min_contrast: float = 0.4
    cloud_piece_m2: float = 6_000.0
    cloud_piece_alone_m2: float = 40_000.0
    shadow_edge: float = 0.3
    shadow_edge_m2: float = 1_000.0
    shadow_border_share: float = 0.3
    shadow_depth: float = 0.45
    shadow_piece_m2: float = 4_000.0
    ndsi: float = 0.4
    white_rise: float = 0.1
    saturated_reflectance: float = 2.0
    buffer_m: float = 30.0
    apart_m: float = 20.0
