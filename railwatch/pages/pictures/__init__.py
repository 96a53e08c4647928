"""Pictures that show what was counted."""
