"""What the ContainerStacks services have in common."""
