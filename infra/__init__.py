"""Where functions run: Ray, inside this process or on a cluster. The only room with ray."""
