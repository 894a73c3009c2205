"""Pictures and videos in; pictures, animations and videos out."""

from .fit import fit, fitted_size
from .frames import Frames, read_frames, read_picture
from .panels import contact_sheet
from .write import FILE_SUFFIXES, check_animation_path, write_animation, write_json, write_picture

__all__ = [
    "FILE_SUFFIXES",
    "Frames",
    "check_animation_path",
    "contact_sheet",
    "fit",
    "fitted_size",
    "read_frames",
    "read_picture",
    "write_animation",
    "write_json",
    "write_picture",
]
