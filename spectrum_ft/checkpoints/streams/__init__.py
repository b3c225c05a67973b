"""Reading weights over the network, range by range, without keeping them."""
