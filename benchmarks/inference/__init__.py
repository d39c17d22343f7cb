"""The inference plane's figures beside its peers: Triton, MLServer, KServe's SDK, FastAPI. See ``docs/benchmarks-inference.md``."""
