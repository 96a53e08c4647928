"""The settings of a run, one TOML file a use."""
