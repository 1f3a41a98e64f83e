"""Frames of a video as JPEG files. Needs OpenCV, which spinkit does not install."""

from pathlib import Path

REMEDY = "pip install opencv-python-headless, or extract the frames with another tool and leave --videos away"


def cut(video: Path, frames: dict[int, Path]) -> None:
    """Write some frames of a video; where it ends early the last ones are not written.

    Args:
        video: the file.
        frames: number of the frame, from 0 -> the JPEG to write.

    Raises:
        ModuleNotFoundError: without OpenCV.
        FileNotFoundError: when there is no video.
        ValueError: when it cannot be decoded at all, or a frame not written.
    """
    try:
        import cv2
    except ImportError as error:
        raise ModuleNotFoundError(f"{video} cannot be read, because OpenCV is not installed; {REMEDY}") from error
    if not video.is_file():
        raise FileNotFoundError(f"no video {video}; fetch it, or extract its frames and leave --videos away")
    stream = cv2.VideoCapture(str(video))
    decoded = 0
    while decoded <= max(frames, default=-1):
        read, picture = stream.read()
        if not read:
            break
        if decoded in frames:
            frames[decoded].parent.mkdir(parents=True, exist_ok=True)
            if not cv2.imwrite(str(frames[decoded]), picture):
                raise ValueError(f"{frames[decoded]} cannot be written; make room or correct the folder")
        decoded += 1
    stream.release()
    if frames and decoded == 0:
        raise ValueError(f"{video} has no frame that OpenCV can decode; fetch it again")
