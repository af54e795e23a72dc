"""Features on points: lifting from images, interpolation from Gaussians, PCA colours."""
