"""Three small trained networks, one for each kind of trouble, and the data they are judged on."""
