"""Many studies, one after the other, in a way that can be stopped and begun again."""
