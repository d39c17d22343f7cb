"""From files to graphs, one format a file."""
