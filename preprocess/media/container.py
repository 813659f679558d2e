"""Opening a video file safely: local files only, containers of moving pictures only, and the right stream of them.

with open_video(Path("baby_reading.mp4")) as (container, stream):
    stream.codec_context.name, stream.codec_context.width, stream.time_base  # ('h264', 640, Fraction(1, 12800))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from preprocess.errors import MediaError

# FFmpeg logs from threads of its own: any other level than None can deadlock against Python's lock.
av.logging.set_level(None)

# A playlist, a text or a single picture that calls itself .mp4 must not make FFmpeg open what the playlist names, or
# draw the text. Audio is among the formats so that a song is told from a broken file.
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "3gp,aac,ac3,aiff,amr,asf,au,av1,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,"
    "mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vob,w64,wav,webm,wtv",
}


@contextmanager
def open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file and its video stream, with every other stream switched off.

    Raises:
        MediaError: `missing`, `unreadable`, or `no_video_stream` (sound, cover art).
    """
    try:
        # "file:" keeps a colon in a file's name from being read as a protocol.
        container = av.open(f"file:{path}", options=_OPEN_OPTIONS, metadata_errors="replace")
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path.name} is not there") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        raise MediaError("unreadable", f"{path.name} is no video that FFmpeg can open ({_cause(error)})") from error
    with container:
        pictures = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if not s.disposition & pictures]
        if not streams:
            raise MediaError("no_video_stream", f"{path.name} has no video stream ({_contents(container)})")
        best = container.streams.best("video")
        stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
        if stream.codec_context is None:
            raise MediaError("unreadable", f"{path.name} has a video codec that this FFmpeg does not know")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        yield container, stream


def _contents(container: InputContainer) -> str:
    """What a file without video holds, for the message."""
    kinds = sorted({"cover art" if s.type == "video" else s.type for s in container.streams})
    return " and ".join(kinds) + " only" if kinds else "nothing"


def _cause(error: BaseException) -> str:
    """FFmpeg's own words, without the path of the file."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
