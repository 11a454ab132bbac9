"""Does the order of candidates at a small budget hold at a larger one, to which `nas.scaling.scale` carries them?"""
