"""Configurations of Stable Diffusion 1.5's networks, as diffusers' classes take them.

Source: Rombach et al., "High-resolution image synthesis with latent diffusion models" (2022), and the configuration
files of the published weights. The Appearance Control Model has the UNet's shape, the Pose ControlNet the encoder's.
"""

ENCODER = {
    "block_out_channels": [320, 640, 1280, 1280],
    "down_block_types": ["CrossAttnDownBlock2D"] * 3 + ["DownBlock2D"],
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
UNET = ENCODER | {"up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * 3}
POSE_CHANNELS = (16, 32, 96, 256)
"""Widths of the encoder of pose maps."""
POSE = ENCODER | {"conditioning_embedding_out_channels": list(POSE_CHANNELS)}
VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
SIDE = 512
"""Side of a picture in pixels."""
VAE_FACTOR = 8
"""Side of a picture divided by that of its latents."""
LATENT_SHAPE = (1, 4, SIDE // VAE_FACTOR, SIDE // VAE_FACTOR)
TEXT_SHAPE = (1, 77, 768)
"""Shape of a prompt's embedding."""
