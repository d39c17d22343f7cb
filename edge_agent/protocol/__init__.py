"""Words and encodings that go over the wire."""
