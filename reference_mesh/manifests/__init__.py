"""What `refmesh install` prints: values, certificates, resources, in the order to apply them."""
