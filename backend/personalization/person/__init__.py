"""What a person sees of it and says about it: taste, switches, sliders, limits, the document they take away."""
