"""The store: observations, chips and their place on the ground."""
