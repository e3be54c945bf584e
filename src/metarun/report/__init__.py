"""Reads many runs from their folders, ranks them and shows them side by side; trains nothing."""
