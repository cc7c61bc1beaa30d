"""Image files on disk: plain, in zip archives, DICOM."""
