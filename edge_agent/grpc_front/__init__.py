"""The local API over gRPC: a process of its own that passes each call on to the HTTP API's. Needs the extra ``grpc``."""
