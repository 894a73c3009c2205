"""Read pictures and videos; write pictures, animations and videos."""

from .fit import describe_crop, fit, fitted_size, size_of_area
from .panels import contact_sheet
from .pictures import BLACK, WHITE, parse_colour, read_picture
from .read import Frames, read_frames
from .write import FILE_SUFFIXES, check_animation_path, in_background, write_animation, write_json, write_picture

__all__ = [
    "BLACK",
    "FILE_SUFFIXES",
    "Frames",
    "WHITE",
    "check_animation_path",
    "contact_sheet",
    "describe_crop",
    "fit",
    "fitted_size",
    "in_background",
    "parse_colour",
    "read_frames",
    "read_picture",
    "size_of_area",
    "write_animation",
    "write_json",
    "write_picture",
]
