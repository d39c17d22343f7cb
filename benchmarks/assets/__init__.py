"""Published models with real data, run through the whole engine: does each keep the figure that its own check computes without us?"""
