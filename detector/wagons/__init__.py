"""Wagons one by one, on images of about a metre and finer."""
