"""Platforms: what a bundle is, which processes it runs, and what it needs installed. PURE."""
