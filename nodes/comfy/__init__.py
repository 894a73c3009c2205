"""ComfyUI's services: model folders, user files, memory management, model conversion, progress, patches of MODEL.

The only modules that import ComfyUI; they do so inside functions, so that every node can be imported without it.
"""
