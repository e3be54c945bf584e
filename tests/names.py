"""Names that a user's files may have."""

from __future__ import annotations

from hypothesis import strategies as st

OWN = ("config.yaml", "metrics.jsonl", "result.json", "last.pt", "items-0.npy", "metarun_items.npy")


def file_names() -> st.SearchStrategy[str]:
    """Names of any kind, many of them nearly those that metarun gives to unfinished files."""
    letters = st.characters(exclude_characters="/\0", codec="utf-8")
    free = st.text(letters, min_size=1, max_size=12)
    hexadecimal = st.text("0123456789abcdef", min_size=1, max_size=16)
    near = st.builds(
        lambda dot, own, token, end: f"{dot}{own}{token}{end}",
        st.sampled_from(["", "."]),
        st.sampled_from(OWN) | free,
        st.just("") | hexadecimal.map(lambda digits: f".{digits}"),
        st.sampled_from(["", ".part", ".tmp", "~"]),
    )
    arrays = hexadecimal.map(lambda digits: f"items-{digits}.npy")
    used = {".", "..", "metarun_items.npy", "metarun_index.json", ".metarun_items.npy.part"}
    return (free | near | arrays).filter(lambda name: name not in used)
