"""Many runs side by side: read from their folders, ranked, shown. Nothing here runs anything."""
