"""Reads runs from their folders, ranks and compares them, and renders tables and an HTML page."""
