"""Opens a video file safely: local files only, video containers only, and the stream that players would show.

with open_video(Path("baby_reading.mp4")) as (container, stream):
    stream.codec_context.name, stream.codec_context.width, stream.time_base  # ('h264', 640, Fraction(1, 12800))
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from preprocess.errors import MediaError
from preprocess.media.local import LocalMedia, ffmpeg_address
from preprocess.os_errors import is_of_machine

# FFmpeg logs from its own threads: any level other than None can deadlock with the GIL.
av.logging.set_level(None)

# A playlist named .mp4 must not make FFmpeg open the files it lists, nor a text file be rendered as a video. Audio
# formats are included so that an audio file is distinguished from a broken one.
_FORMATS = (
    "3gp,aac,ac3,aiff,amr,asf,au,av1,avi,caf,dv,eac3,flac,flv,gif,h264,hevc,ivf,m4v,matroska,mov,"
    "mp3,mpeg,mpegts,mpegvideo,mxf,nut,obu,ogg,rm,swf,vob,w64,wav,webm,wtv"
)


@contextmanager
def open_video(path: LocalMedia) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Opens a file and its video stream; all other streams are discarded while reading.

    Args:
        path: A local file, or a part of one.

    Raises:
        MediaError: `missing`, `unreadable`, or `no_video_stream` (audio, cover art).
    """
    address, protocols = ffmpeg_address(path)
    options = {"protocol_whitelist": protocols, "format_whitelist": _FORMATS}
    try:
        container = av.open(address, options=options, metadata_errors="replace")
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path.name} does not exist") from error
    except (av.FFmpegError, OSError, ValueError) as error:
        if is_of_machine(error):
            raise
        raise MediaError("unreadable", f"{path.name} is not a video that FFmpeg can open ({_cause(error)})") from error
    with container:
        pictures = Disposition.attached_pic | Disposition.timed_thumbnails
        streams = [s for s in container.streams.video if not s.disposition & pictures]
        if not streams:
            raise MediaError("no_video_stream", f"{path.name} has no video stream ({_contents(container)})")
        best = container.streams.best("video")
        stream = best if isinstance(best, VideoStream) and best in streams else streams[0]
        if stream.codec_context is None:
            raise MediaError("unreadable", f"{path.name} has a video codec that this FFmpeg does not support")
        for other in container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        yield container, stream


def _contents(container: InputContainer) -> str:
    """What a file without video contains, for the message."""
    kinds = sorted({"cover art" if s.type == "video" else s.type for s in container.streams})
    return " and ".join(kinds) + " only" if kinds else "nothing"


def _cause(error: BaseException) -> str:
    """FFmpeg's description of an error, without the path of the file."""
    return (getattr(error, "strerror", None) or type(error).__name__).lower()
