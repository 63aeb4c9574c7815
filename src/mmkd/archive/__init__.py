"""Archives of pictures that are searched by words and by pictures."""
