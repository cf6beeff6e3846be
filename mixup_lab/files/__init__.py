"""Reading files: tables, folders, pictures, sounds and masks, and the cache of their contents on disk."""
