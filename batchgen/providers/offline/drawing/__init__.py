"""Draws a picture from a prompt's words. The door is `paint.draw`."""
