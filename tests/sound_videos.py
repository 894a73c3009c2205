"""Videos with sound for tests."""

from fractions import Fraction

import av
import numpy as np

RATE, FPS = 16_000, 10


def write_source(path, kind, codec, seconds=3.0, beep=1.0, fps=FPS):
    """Write a grey video with silence, and a tone of half a second from `beep` on."""
    samples = np.zeros((1, round(RATE * seconds)), np.float32)
    tone = slice(round(RATE * beep), round(RATE * (beep + 0.5)))
    samples[0, tone] = np.sin(np.arange(tone.stop - tone.start) * 2 * np.pi * 440 / RATE)
    with av.open(str(path), "w", format=kind) as out:
        video = out.add_stream("mpeg4", rate=fps)
        video.width = video.height = 32
        audio = out.add_stream(codec, rate=RATE)
        audio.layout = "mono"
        for _ in range(round(seconds * fps)):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((32, 32, 3), 90, np.uint8), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for part in av.AudioResampler(audio.codec_context.format.name, "mono", RATE, 1024).resample(frame):
            out.mux(audio.encode(part))
        out.mux([*video.encode(None), *audio.encode(None)])
    return path
