"""The item-item model: trained, judged, kept as versions, served from disk."""
