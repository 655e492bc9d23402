"""Draws a picture from a prompt's words."""

from batchgen.providers.offline.drawing.paint import draw

__all__ = ["draw"]
