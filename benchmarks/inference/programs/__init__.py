"""Programs that run in processes of their own: what the peers serve with, and the clients that load a server."""
