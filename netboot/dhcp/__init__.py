"""Answer DHCP: the codec, the options, the decision, the way of the reply, and the server around them."""
