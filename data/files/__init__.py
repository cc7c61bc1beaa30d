"""Image files as they lie on disk: plain, in zip archives, DICOM."""
