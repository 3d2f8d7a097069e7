"""What a person sees of it and says about it: their taste, switches, sliders, limits, and the document they carry away."""
