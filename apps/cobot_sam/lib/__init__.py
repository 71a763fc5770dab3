"""The app's own package; MONAI Label puts this folder's parent on the path while it loads."""
