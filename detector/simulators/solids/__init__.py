"""A simulator to learn the types of freight cars from: `cars` shapes them, `strip` lights and shows them."""
