"""What every room stands on: the settings, folders that are written all or nothing, downloads, threads."""
