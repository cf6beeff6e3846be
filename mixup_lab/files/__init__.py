"""Reading files: tables, folders, pictures, sounds, masks, and what is kept of them on disk."""
