"""Is an area clear on a date: cloud, shadow, snow, haze, gaps."""
