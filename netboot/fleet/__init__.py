"""Work that takes minutes and spans machines: following joins to Ready."""
