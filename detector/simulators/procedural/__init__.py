"""The main simulator: scenes described in metres, drawn with heights, seen by a sensor."""
