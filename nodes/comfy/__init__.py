"""ComfyUI's services: folders, files, memory, conversion of its models, progress.

The only folder that imports ComfyUI, and only inside functions, so that every node can be imported without it.
"""
