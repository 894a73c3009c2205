"""MagicDance for ComfyUI. Importing this file loads nothing heavy: networks wait for the first node that needs them."""

# Without a package around it (pytest collecting a checkout) there is no ComfyUI to register nodes with.
if __package__:
    from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS
    from .nodes.comfy.folders import register_model_folders

    register_model_folders()
    WEB_DIRECTORY = "./web"
    __all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY"]
