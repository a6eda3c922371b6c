"""What every room stands on: settings, folders written all or nothing, downloads, installed packages, threads."""
