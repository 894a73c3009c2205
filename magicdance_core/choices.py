"""Choices of commands and nodes, the default first. Imports nothing."""

DEFAULT = "default"

CONTROL_MODES = ("controlnet_important", "balance")
SCHEDULERS = {  # diffusers class, and changes to the model's scheduler configuration
    DEFAULT: None,
    "ddim": ("DDIMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "lcm": ("LCMScheduler", {}),  # with an LCM-LoRA, 4 to 8 steps
    "tcd": ("TCDScheduler", {}),  # with a LoRA of TCD or Hyper-SD, 4 to 8 steps
}
FACE_PASS_STRENGTH = 0.5
KNOWN_SETS = ("tiktok", "ubc-fashion", "everybody-dance-now")  # data.known_sets.KNOWN, which takes longer to import
PRESETS = ("exact", "fast", "preview")
BETA_SCHEDULES = (DEFAULT, "scaled_linear", "linear")
NOISES = (DEFAULT, "shared", "independent", "mixed", "free")
WINDOW_WEIGHTS = ("pyramid", "flat", "ramps")
DTYPES = ("float32", "float16", "bfloat16")
PROTOCOLS = ("correct", "published")  # of an evaluation
FITS = ("keep", "square")

DETECTORS = ("auto", "dwpose", "openpose", "mediapipe", "drawn")
TORCH_DETECTORS = ("openpose", "mediapipe")  # run by torch, on the device that is asked for
MASK_SOURCES = ("keypoints", "segmentation")  # of people in a picture
PEOPLE = ("continuity", "size", "all")  # or a number
SMOOTHING_METHODS = ("savitzky-golay", "one-euro")
POSITIONS = ("auto", "reference", "driving", "in place")
# Keypoints of other programs with a lower score are left out; detectors that give every point a score let users choose.
FOREIGN_THRESHOLD = 0.3  # DWPose's own
KEYPOINT_SUFFIXES = (".json", ".npz")
