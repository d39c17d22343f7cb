"""The inference plane's figures beside its peers: Triton, MLServer, KServe's SDK, FastAPI. ``docs/benchmarks-inference.md`` says what each means."""
