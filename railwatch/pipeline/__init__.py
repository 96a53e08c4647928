"""The main job: find scenes, count, store, compare."""
