"""Programs that run in processes of their own: what the peers serve with, in the peers' environments, and the clients that load a server."""
