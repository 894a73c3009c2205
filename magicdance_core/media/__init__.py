"""Read pictures and videos; write pictures, animations and videos."""

from .fit import describe_crop, fit, fitted_size, size_of_area
from .panels import contact_sheet
from .read import Frames, read_frames, read_picture
from .write import FILE_SUFFIXES, check_animation_path, in_background, write_animation, write_json, write_picture

__all__ = [
    "FILE_SUFFIXES",
    "Frames",
    "check_animation_path",
    "contact_sheet",
    "describe_crop",
    "fit",
    "fitted_size",
    "in_background",
    "read_frames",
    "read_picture",
    "size_of_area",
    "write_animation",
    "write_json",
    "write_picture",
]
